"""Wrong labels as the recipe finds them then: those that are not the most probable class."""

from typing import ClassVar

from pydantic import Field

from cleaner.plan.wrong_labels import WrongLabels


class Fine(WrongLabels):
    """One stage of label noise: how a round decides, and until when."""

    title: ClassVar[str] = "wrong labels, fine"

    k: int = Field(default=1, ge=1, le=100_000, description="the recipe's k; the policy `belief` does without")
