"""The system checks, by id: each is silent where all is well and speaks up where it is not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks

from letters import checks
from ml import artifact
from tests.running import Site, free_port

SAFE = "k" * 30 + "0123456789" * 3


def ids(found: list[CheckMessage]) -> list[str | None]:
    assert all(each.msg and each.hint for each in found)  # what is wrong, and what to do
    return [each.id for each in found]


def database(monkeypatch: pytest.MonkeyPatch, settings: Any, engine: str) -> None:
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", f"django.db.backends.{engine}")


CHECK = """
import django; django.setup()
from django.core.management import call_command
call_command("check")
print("---")
call_command("check", deploy=True)
"""


def test_it_works(site: Site) -> None:
    """A site in order passes; what only a site for strangers needs is looked at only where that is asked for."""
    plain, _, deployed = site.python(CHECK).partition("---")
    assert "no issues" in plain
    assert "letters.E" not in deployed


def test_they_run_with_the_deployment_checks(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMNIST_ARCHIVE", str(tmp_path / "none.zip"))
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    settings.PRODUCTION, settings.SECRET_KEY = True, "short"
    database(monkeypatch, settings, "sqlite3")
    monkeypatch.setattr(artifact, "SHIPPED", tmp_path)
    found = {each.id for each in run_checks(include_deployment_checks=True)}
    ours = {f"letters.{each}" for each in ("E001", "E002", "E003", "W001", "W002")}
    assert {each for each in found if each and each.startswith("letters.")} == ours
    assert all(each in str(checks.__doc__) for each in ours)


def test_e001_the_shipped_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ids(checks.shipped_model()) == []
    folder = shutil.copytree(artifact.SHIPPED, tmp_path / "shipped")
    monkeypatch.setattr(artifact, "SHIPPED", folder)
    assert ids(checks.shipped_model()) == []
    (folder / "card.md").write_text("changed")
    assert ids(checks.shipped_model()) == ["letters.E001"]
    shutil.rmtree(folder)
    assert ids(checks.shipped_model()) == ["letters.E001"]


@pytest.mark.parametrize("production", [False, True])
def test_e002_an_embedded_database(settings: Any, monkeypatch: pytest.MonkeyPatch, production: bool) -> None:
    settings.PRODUCTION, settings.SECRET_KEY = production, SAFE
    database(monkeypatch, settings, "sqlite3")
    assert ids(checks.production_parts()) == ["letters.E002"] * production
    database(monkeypatch, settings, "postgresql")
    assert ids(checks.production_parts()) == []


@pytest.mark.parametrize("production", [False, True])
def test_e003_a_short_secret(settings: Any, monkeypatch: pytest.MonkeyPatch, production: bool) -> None:
    settings.PRODUCTION = production
    database(monkeypatch, settings, "postgresql")
    for secret, expected in ((SAFE, []), (SAFE[:49], ["letters.E003"] * production)):
        settings.SECRET_KEY = secret
        assert ids(checks.production_parts()) == expected


def test_w001_no_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "emnist.zip"
    monkeypatch.setenv("EMNIST_ARCHIVE", str(archive))
    assert ids(checks.emnist_archive()) == ["letters.W001"]
    archive.touch()
    assert ids(checks.emnist_archive()) == []


def test_w002_no_redis(site: Site, settings: Any) -> None:
    settings.REDIS_URL = site.env["REDIS_URL"]
    assert ids(checks.broker()) == []
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    assert ids(checks.broker()) == ["letters.W002"]
