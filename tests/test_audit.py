"""What `make audit` would find. That it finds nothing is for CI to say."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import audit


def test_what_runs_with_a_site_is_known() -> None:
    served = audit.served()
    assert {"django", "celery", "amqp", "numpy", "django-axes"} <= served  # amqp is what celery's kombu needs
    assert not {"pytest", "mypy", "moto", "detect-secrets"} & served


def test_what_is_installed_must_be_what_is_locked() -> None:
    locked, there = {"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "d": "1"}
    assert audit.wrong_pins(locked, there) == [
        "b 2 is installed, 1 locked",
        "c is locked and not installed",
        "d is installed and not locked",
    ]
    assert audit.wrong_pins(locked, dict(locked)) == []


@pytest.mark.parametrize("licence", ["MIT", "BSD-3-Clause", "Apache License 2.0", "LGPL-3.0-only", "MPL-2.0 AND MIT"])
def test_a_free_licence_is_fine(licence: str) -> None:
    assert audit.wrong_licences({"a": licence}, {"a"}) == []


@pytest.mark.parametrize(
    "licence", ["GPL-3.0", "GNU General Public License v2 (GPLv2)", "AGPL-3.0", "UNKNOWN", "My own"]
)
def test_one_that_asks_for_more_is_not(licence: str) -> None:
    assert audit.wrong_licences({"a": licence}, {"a"}) == [f"a: {licence}"]
    assert audit.wrong_licences({"a": licence}, set()) == [f"a: {licence}"]  # nobody has looked at it
    reviewed = next(iter(audit.REVIEWED))
    assert audit.wrong_licences({reviewed: licence}, set()) == []
    assert audit.wrong_licences({reviewed: licence}, {reviewed}) != []


@pytest.fixture
def folder() -> Iterator[Path]:
    """In the project, for detect-secrets looks at nothing else; and where version control does not."""
    (audit.ROOT / "var").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=audit.ROOT / "var") as made:
        yield Path(made).relative_to(audit.ROOT)


def test_a_secret_in_a_file_is_found_unless_it_was_reviewed(folder: Path, tmp_path: Path) -> None:
    file, baseline = folder / "settings.py", tmp_path / "baseline"
    baseline.write_text('{"results": {}}')
    (audit.ROOT / file).write_text("key = '-----BEGIN " + "RSA PRIVATE KEY-----'\n")
    assert audit.secrets_in([str(file)], baseline) == [f"{file}, line 1: Private Key"]
    results = json.loads(audit._run("detect-secrets", "scan", "--all-files", str(file)).stdout)["results"]
    baseline.write_text(json.dumps({"results": results}))
    assert audit.secrets_in([str(file)], baseline) == []


def test_all_that_people_wrote_is_looked_at() -> None:
    files = audit.tracked()
    assert {"webapp/settings.py", "README.md", ".ci/run", "templates/base.html"} <= set(files)
