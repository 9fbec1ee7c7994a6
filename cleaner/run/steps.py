"""A step: a pure function from named tables to one named table. A step whose output is there is not run again."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from cleaner.run.files import digest
from cleaner.run.memory import forget_peak, peak_gigabytes
from cleaner.run.store import Cost, Store

F = TypeVar("F", bound=Callable[..., Any])


def makes(kind: str, *, version: int) -> Callable[[F], F]:
    """Mark a function as what a step performs: what it makes, in a name that no other function has, and a version that
    is raised whenever it makes something else of the same inputs and settings. Outputs of other versions are made anew;
    where the function stands and what it is called changes nothing."""

    def mark(function: F) -> F:
        function.__dict__.update(kind=kind, version=version)
        return function

    return mark


@dataclass(frozen=True)
class Step:
    """`function(*inputs, **settings, **resources)`, and the name of what it gives.

    Attributes:
        name: what the step is, `fine-2-evidence`.
        function: a function of a module, so that the step can travel to another process; marked by `makes`.
        inputs: the names of the outputs it reads.
        settings: what its output depends on besides its inputs: values that JSON can say, and frozen dataclasses.
        resources: what it needs but its output does not depend on: the source (its listing is an input), workers.
        cache_key: what its output depends on and the function finds out by itself: what lies in a file, which engine
            computes; values that JSON can say.
        judges: its output is VERDICTS, a part of the ledger.
    """

    name: str
    function: Callable[..., pa.Table | np.ndarray]
    inputs: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    resources: Mapping[str, Any] = field(default_factory=dict)
    cache_key: Mapping[str, Any] = field(default_factory=dict)
    judges: bool = False

    @property
    def output(self) -> str:
        """The step's name and a hash of all that its output depends on."""
        made = vars(self.function)
        settings = {key: sayable(value) for key, value in self.settings.items()}
        return f"{self.name}-{digest(made['kind'], made['version'], self.inputs, settings, dict(self.cache_key))}"


def sayable(value: Any) -> Any:
    """`value` as JSON can say it; of a dataclass the fields that make two of them equal, its type and its version."""
    if is_dataclass(value) and not isinstance(value, type):
        values = asdict(value)
        kept = {part.name: values[part.name] for part in fields(value) if part.compare}
        part: Any = type(value)
        return {"type": part.__qualname__, "version": part.version, **kept}
    return value


def perform(store: Store, step: Step) -> str:
    """Run `step` unless its output is there; return the output's name."""
    if store.has(step.output):
        return step.output
    forget_peak()
    started = time.monotonic()
    inputs = [store.read(name) for name in step.inputs]
    value = step.function(*inputs, **step.settings, **step.resources)
    store.write_cost(step.output, Cost(time.monotonic() - started, peak_gigabytes()))
    if step.judges:
        store.ledger.append(step.output, value)
    else:
        store.write(step.output, value)
    return step.output
