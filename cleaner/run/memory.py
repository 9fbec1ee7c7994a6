"""How much memory this process has had at most."""

import resource
import sys
from contextlib import suppress
from pathlib import Path

_GIGABYTE = 2**30


def forget_peak() -> None:
    """Let the peak be what the process has now, where the system can (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_gigabytes() -> float:
    """The most that the process has had at once since `forget_peak`; where the system can't forget, since its start."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024 / _GIGABYTE
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / _GIGABYTE
