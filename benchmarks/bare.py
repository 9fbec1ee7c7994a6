"""Where pydantic is missing, as on a bare GPU node: classes that hold what they are given, and check nothing.

Imported before anything of cleaner's.
"""

import sys
from types import ModuleType
from typing import Any


class _Model:
    def __init__(self, **given: Any) -> None:
        for kind in type(self).__mro__:
            for name in vars(kind).get("__annotations__", {}):
                if name in given or hasattr(type(self), name):
                    object.__setattr__(self, name, given.get(name, getattr(type(self), name, None)))


def _field(default: Any = None, *, default_factory: Any = None, **_: Any) -> Any:
    return default_factory() if default_factory else default


def _unchanged(*_: Any, **__: Any) -> Any:
    return lambda function: function


try:
    import pydantic  # noqa: F401
except ImportError:
    _module = ModuleType("pydantic")
    vars(_module).update(
        BaseModel=_Model,
        ConfigDict=dict,
        Field=_field,
        TypeAdapter=None,
        ValidationError=type("ValidationError", (ValueError,), {}),
        field_validator=_unchanged,
        model_validator=_unchanged,
    )
    sys.modules["pydantic"] = _module
