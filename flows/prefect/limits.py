"""What a cleaning may cost: estimated before it begins, said, and held to limits where there are some."""

from pydantic import Field

from cleaner.errors import InputError
from cleaner.plan.estimate import Estimate
from cleaner.settings import Section
from cleaner.words import counted, size, span


class Limits(Section):
    """What one cleaning may take; it is estimated, and one that would take more does not begin."""

    hours: float | None = Field(default=None, gt=0, description="hours at most")
    memory_gb: float | None = Field(default=None, gt=0, description="memory at most, in GB")
    disk_gb: float | None = Field(default=None, gt=0, description="disk at most, in GB")

    @property
    def any(self) -> bool:
        return self != Limits()


def sentences(cost: Estimate) -> list[str]:
    """An estimate, in lines for people."""
    new = "" if cost.new == cost.images else f", {cost.new:,} of them yet to be read"
    low, high = cost.seconds
    few, many = (span(seconds) for seconds in cost.rounds)
    parts = f"reading {span(cost.reading)}, features {span(cost.features)}, rounds {few} to {many}"
    return [
        f"{counted(cost.images, 'image')} of {counted(cost.classes, 'class', 'classes')}{new}",
        f"about {span(low)} to {span(high)}, by {cost.measured:,} images on this machine ({cost.machine})",
        f"{parts}, all else {span(cost.settling)}",
        f"at most about {size(cost.memory_gb * 2**30)} of memory and {size(cost.disk_gb * 2**30)} of disk",
    ]


def hold_to(limits: Limits, cost: Estimate) -> None:
    """Refuse what would take more than `limits`.

    Raises:
        InputError: it would.
    """
    found = {"hours": cost.seconds[0] / 3600, "memory_gb": cost.memory_gb, "disk_gb": cost.disk_gb}
    over = [
        f"{name} = {limit:g}, and it would take about {found[name]:.3g}"
        for name in found
        if (limit := getattr(limits, name)) is not None and found[name] > limit
    ]
    if over:
        raise InputError(
            f"the cleaning does not begin: limits.{'; limits.'.join(over)}; raise the limit, or clean less"
        )
