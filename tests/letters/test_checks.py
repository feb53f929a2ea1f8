"""The system checks, by id: each is silent where all is well and speaks up where it is not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.exceptions import ImproperlyConfigured

from letters import checks
from ml import artifact
from tests.running import ROOT, Site, free_port

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


def good(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of a site for strangers in which nothing is wrong."""
    database(monkeypatch, settings, "postgresql")
    settings.PRODUCTION, settings.SECRET_KEY, settings.DEBUG, settings.HEROKU = True, SAFE, False, False
    settings.ALLOWED_HOSTS, settings.PROXIES, settings.SECRET_KEY_FALLBACKS = ["letters.example.org"], 1, []
    settings.SECURE_SSL_REDIRECT, settings.SECURE_HSTS_SECONDS = True, 3600
    monkeypatch.setitem(settings.STORAGES["default"], "BACKEND", "webapp.object_storage.ObjectStorage")
    monkeypatch.setenv("REDIS_URL", "redis://cache:6379/0")


def test_they_run_with_the_deployment_checks(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that can be wrong at once is said at once, but for what is an error in one place and a warning in another."""
    monkeypatch.setenv("EMNIST_ARCHIVE", str(tmp_path / "none.zip"))
    monkeypatch.setenv("DRAWING_PER_DAY", "5")
    monkeypatch.delenv("REDIS_URL", raising=False)
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    settings.PRODUCTION, settings.SECRET_KEY, settings.DEBUG, settings.HEROKU = True, "short", True, True
    settings.ALLOWED_HOSTS, settings.PROXIES = ["*"], 0
    settings.SECURE_SSL_REDIRECT, settings.SECURE_HSTS_SECONDS = False, 0
    database(monkeypatch, settings, "sqlite3")
    monkeypatch.setattr(artifact, "SHIPPED", tmp_path)
    found = {each.id for each in run_checks(include_deployment_checks=True)}
    settings.HEROKU, settings.SECURE_HSTS_SECONDS = False, 3600
    found |= {each.id for each in run_checks(include_deployment_checks=True)}
    errors, warnings = range(1, 10), range(1, 7)
    ours = {f"letters.E00{n}" for n in errors} | {f"letters.W00{n}" for n in warnings}
    assert {each for each in found if each and each.startswith("letters.")} == ours
    documented = (ROOT / "docs" / "operations.md").read_text()
    assert all(each in str(checks.__doc__) and f"`{each}`" in documented for each in ours)


def test_a_site_for_strangers_in_order(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    good(settings, monkeypatch)
    assert checks.production_parts() == []
    checks.refuse()


def test_e001_the_shipped_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ids(checks.shipped_model()) == []
    folder = shutil.copytree(artifact.SHIPPED, tmp_path / "shipped")
    monkeypatch.setattr(artifact, "SHIPPED", folder)
    assert ids(checks.shipped_model()) == []
    (folder / "card.md").write_text("changed")
    assert ids(checks.shipped_model()) == ["letters.E001"]
    shutil.rmtree(folder)
    assert ids(checks.shipped_model()) == ["letters.E001"]


Change = Callable[[Any, pytest.MonkeyPatch], object]
ONE_WRONG: list[tuple[str, Change]] = [
    ("letters.E002", lambda settings, patch: database(patch, settings, "sqlite3")),
    ("letters.E003", lambda settings, patch: setattr(settings, "SECRET_KEY", SAFE[:49])),
    ("letters.E003", lambda settings, patch: setattr(settings, "SECRET_KEY", "ab" * 40)),
    ("letters.E003", lambda settings, patch: setattr(settings, "SECRET_KEY", "django-insecure-" + SAFE)),
    ("letters.E003", lambda settings, patch: setattr(settings, "SECRET_KEY_FALLBACKS", ["old"])),
    ("letters.E004", lambda settings, patch: setattr(settings, "ALLOWED_HOSTS", [])),
    ("letters.E004", lambda settings, patch: setattr(settings, "ALLOWED_HOSTS", ["a.example.org", "*"])),
    ("letters.E005", lambda settings, patch: setattr(settings, "DEBUG", True)),
    ("letters.E006", lambda settings, patch: patch.delenv("REDIS_URL")),
    ("letters.W005", lambda settings, patch: setattr(settings, "PROXIES", 0)),
    ("letters.W006", lambda settings, patch: setattr(settings, "SECURE_SSL_REDIRECT", False)),
    (
        "letters.W003",
        lambda settings, patch: patch.setitem(
            settings.STORAGES["default"], "BACKEND", "django.core.files.storage.FileSystemStorage"
        ),
    ),
]


@pytest.mark.parametrize(("wrong", "change"), ONE_WRONG)
def test_one_part_is_wrong(settings: Any, monkeypatch: pytest.MonkeyPatch, wrong: str, change: Change) -> None:
    """Each is found alone, and in production alone; an error is refused, a warning said."""
    good(settings, monkeypatch)
    change(settings, monkeypatch)
    assert ids(checks.production_parts()) == [wrong]
    if wrong.startswith("letters.E"):
        with pytest.raises(ImproperlyConfigured, match=wrong):
            checks.refuse()
    else:
        checks.refuse()
    settings.PRODUCTION = False
    assert ids(checks.production_parts()) == []


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
