"""What a measurement was made on, and what processes took."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path

import psutil


def described() -> str:
    """The machine in one line, with how busy it was before the measurement: that explains odd numbers."""
    memory = psutil.virtual_memory().total / 2**30
    load = os.getloadavg()[0]
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GB, {platform.system()} {platform.release()},"
        f" Python {platform.python_version()}, load before {load:.1f}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def rss_mb(pid: int) -> float:
    """Resident memory of one process, in megabytes of 10^6 bytes."""
    return float(psutil.Process(pid).memory_info().rss / 1e6)


def children(pid: int) -> list[int]:
    """The processes that gunicorn's master, say, has started."""
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def cpu_seconds(pid: int) -> float:
    """Processor time that a process and all below it have taken, also those that have ended: unlike a clock, it does
    not see other programs."""
    taken = 0.0
    for each in (pid, *children(pid)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = psutil.Process(each).cpu_times()
            taken += times.user + times.system + times.children_user + times.children_system
    return taken
