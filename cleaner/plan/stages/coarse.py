"""Wrong labels as the recipe finds them first: those that are not among the five most probable classes."""

from typing import ClassVar

from pydantic import Field

from cleaner.plan.wrong_labels import WrongLabels


class Coarse(WrongLabels):
    """One stage of label noise: how a round decides, and until when."""

    title: ClassVar[str] = "wrong labels, coarse"

    k: int = Field(
        default=5,
        ge=1,
        le=100_000,
        description="the recipe's k; never more than a twentieth of the classes, and at least 1",
    )
