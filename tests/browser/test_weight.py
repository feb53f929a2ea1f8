"""What a visitor downloads of ours stays small."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.running import ROOT

LIMIT = 100_000  # bytes; of the page of maps, which brings a plot of 100,000 points, a fifth more
LIMITS = {"explore": 120_000}
SCRIPTS = ROOT / "static" / "letters" / "js"
STYLES = ROOT / "static" / "letters" / "css"
BASE = ROOT / "templates" / "base.html"
PAGES = sorted(path for path in (ROOT / "templates").rglob("*.html") if 'extends "base.html"' in path.read_text())


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


def downloaded(template: Path) -> set[Path]:
    """All of ours that a page asks for, itself or by what that imports."""
    asked = re.findall(r"'letters/(?:js|css)/([\w-]+\.(?:js|css))'", template.read_text() + BASE.read_text())
    scripts = {SCRIPTS / name for name in asked if name.endswith(".js")}
    return {STYLES / name for name in asked if name.endswith(".css")}.union(*map(imported, scripts))


@pytest.mark.parametrize("template", PAGES, ids=lambda path: path.stem)
def test_no_page_makes_its_visitor_download_more_than_100_kilobytes_of_ours(template: Path) -> None:
    files = downloaded(template)
    assert STYLES / "site.css" in files, "they were moved: look for them where they are now"
    assert size(files) < LIMITS.get(template.stem, LIMIT)


def test_the_large_pages_are_among_those_that_are_weighed() -> None:
    assert {"draw", "explore", "mine"} <= {path.stem for path in PAGES}
    assert len(downloaded(ROOT / "templates" / "draw.html")) > 15


@pytest.mark.parametrize("page", ["draw", "explore"])
def test_a_page_asks_beforehand_for_all_that_it_imports(page: str) -> None:
    """Else the browser finds module behind module, one way to the server each."""
    template = (ROOT / "templates" / f"{page}.html").read_text()
    asked = {SCRIPTS / name for name in re.findall(r"letters/js/([\w-]+\.js)", template)}
    assert asked == imported(SCRIPTS / f"{page}.js")
