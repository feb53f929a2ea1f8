"""Processes whose clock is wrong, by libfaketime; the clock can be set while they run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import libfaketime

LIBRARY = Path(libfaketime.__file__).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"


class Clock:
    """A clock that is some seconds ahead of the machine's, or behind it."""

    def __init__(self, folder: Path, ahead: float) -> None:
        self._file = folder / "clock"
        self.set(ahead)

    def set(self, ahead: float) -> None:
        """From now on."""
        aside = self._file.with_name("clock.new")
        aside.write_text(f"{ahead:+.0f}\n")
        os.replace(aside, self._file)

    def env(self, env: Mapping[str, str]) -> dict[str, str]:
        """In which a process goes by this clock. What counts seconds and is never set stays as it is."""
        return dict(env) | {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
