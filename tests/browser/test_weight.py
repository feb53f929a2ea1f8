"""What a visitor downloads of ours stays small."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.running import ROOT

LIMIT = 100_000  # bytes
SCRIPTS = ROOT / "static" / "letters" / "js"
STYLES = ROOT / "static" / "letters" / "css"


def size(files: set[Path]) -> int:
    """Of all of them together, in bytes."""
    return sum(path.stat().st_size for path in files)


def imported(script: Path, known: frozenset[Path] = frozenset()) -> set[Path]:
    """A script and all that it imports, and they in turn."""
    found = {script}
    for name in re.findall(r'from "\./([\w.-]+)"', script.read_text()):
        if SCRIPTS / name not in known:
            found |= imported(SCRIPTS / name, known | found)
    return found


def test_our_scripts_and_styles_stay_under_100_kilobytes() -> None:
    """All but the staff's, and the maps': those are a page of their own, below."""
    files = (ROOT / "static" / "letters").rglob("*")
    ours = {path for path in files if path.suffix in (".js", ".css") and not path.name.startswith(("admin", "explore"))}
    assert len(ours) > 10, "they were moved: look for them where they are now"
    assert size(ours) < LIMIT


@pytest.mark.parametrize("page", ["draw", "explore"])
def test_the_two_large_pages_stay_under_100_kilobytes_with_all_that_they_import(page: str) -> None:
    scripts = imported(SCRIPTS / f"{page}.js")
    assert len(scripts) > 10, "they were moved: look for them where they are now"
    assert size(scripts | {STYLES / "site.css", STYLES / f"{page}.css"}) < LIMIT


@pytest.mark.parametrize("page", ["draw", "explore"])
def test_a_page_asks_beforehand_for_all_that_it_imports(page: str) -> None:
    """Else the browser finds module behind module, one way to the server each."""
    template = (ROOT / "templates" / f"{page}.html").read_text()
    asked = {SCRIPTS / name for name in re.findall(r"letters/js/([\w-]+\.js)", template)}
    assert asked == imported(SCRIPTS / f"{page}.js")
