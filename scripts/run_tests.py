"""What `make test` does: bring what the tests use on this machine, run them, and say what was not run and why.

.venv/bin/python -m scripts.run_tests [pytest's own arguments]

Without any, all tests that are not marked `long` run in two processes, file by file, those in a browser last: once
Playwright runs in a process, Django lets it ask no database any more.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path

import pytest

from letters.embedded import EmbeddedRedis
from scripts import browser, litert_js

ROOT = Path(__file__).resolve().parent.parent
DATA = {
    "EMNIST_ARCHIVE": "tests on EMNIST: EMNIST_ARCHIVE names no archive",
    "LETTERLOOP_STROKES": "tests on letters that people drew: LETTERLOOP_STROKES names no file of them",
}


WHOLE = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", "-m", "not long")
LONG = "the long tests, which CI runs: make test ARGS='-m long'"


class NotRun:
    """A pytest plugin: names, at the end, the groups of tests that were not run, and why."""

    def __init__(self, reasons: list[str]) -> None:
        self.reasons = reasons

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Just before pytest's closing line."""
        if self.reasons:
            terminalreporter.section("not run")
        for reason in self.reasons:
            terminalreporter.line(reason)


def main() -> int:
    """Pytest's exit code."""
    os.chdir(ROOT)
    with contextlib.ExitStack() as stack:
        if not os.environ.get("REDIS_URL"):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="letterloop-redis-"))
            os.environ["REDIS_URL"] = stack.enter_context(EmbeddedRedis(Path(folder))).url
        missing = missing_data() + missing_browser() + missing_litert_js()
        asked = sys.argv[1:]
        left_out = [] if asked else [LONG]
        return int(pytest.main(asked or [*WHOLE], plugins=[NotRun(missing + left_out)]))


def missing_data() -> list[str]:
    """What cannot be run without data, in words."""
    return [words for name, words in DATA.items() if not Path(os.environ.get(name, "")).is_file()]


def missing_browser() -> list[str]:
    """Point LETTERLOOP_CHROMIUM at a browser, perhaps a new one; what cannot be run without one, in words."""
    found = browser.present() or browser.install()
    if found:
        os.environ["LETTERLOOP_CHROMIUM"] = found
        return []
    os.environ.pop("LETTERLOOP_CHROMIUM", None)
    return ["tests in a browser: there is no Chromium here, and none could be installed"]


def missing_litert_js() -> list[str]:
    """Fetch LiteRT.js where it is not here yet; what cannot be run without it, in words."""
    problem = litert_js.fetch()
    return [f"the test of the model in a browser by itself: no LiteRT.js, {problem}"] if problem else []


if __name__ == "__main__":
    sys.exit(main())
