"""Each test that docs/security.md names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "security.md").read_text()
FILES = list((ROOT / "tests").rglob("test_*.py"))
FUNCTIONS = set(re.findall(r"^def (test_\w+)\(", "\n".join(path.read_text() for path in FILES), re.M))


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\b(test_\w+\.py)", TEXT))))
def test_the_file_is_there(name: str) -> None:
    assert name in {path.name for path in FILES}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\b(test_\w+(?:…)?)(?!\.py|\w)", TEXT))))
def test_the_test_is_there(name: str) -> None:
    if name.endswith("…"):
        assert any(each.startswith(name[:-1]) for each in FUNCTIONS)
    else:
        assert name in FUNCTIONS


def test_every_setting_that_it_names_is_one() -> None:
    known = "".join((ROOT / "webapp" / each).read_text() for each in ("settings.py", "gunicorn.py"))
    names = set(re.findall(r"`((?:THROTTLE|REPORTS|DRAWINGS|SECURE|PROXIES)\w*)`", TEXT))
    assert len(names) > 6
    assert not [name for name in names if f'"{name}"' not in known]
