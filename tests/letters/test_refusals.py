"""Production does not start with what no stranger should meet: real processes, each ended by its own word."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from honcho.environ import parse_procfile

from tests.running import FOREIGN, ROOT, free_port

GOOD = {
    "LETTERLOOP_ENV": "production",
    "SECRET_KEY": "0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "ALLOWED_HOSTS": "letters.example.org",
    "DATABASE_URL": "postgres://nobody@127.0.0.1:1/letterloop",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "S3_BUCKET": "letters",
    "PROXIES": "1",
}
WRONG: dict[str, dict[str, str]] = {
    "letters.E002": {"DATABASE_URL": ""},
    "letters.E003": {"SECRET_KEY": ""},
    "letters.E004": {"ALLOWED_HOSTS": "*"},
    "letters.E005": {"DEBUG": "1"},
    "letters.E006": {"REDIS_URL": ""},
    "letters.E007": {"DYNO": "web.1", "PROXIES": "0"},
    "letters.E008": {"SECURE_SSL_REDIRECT": "0", "SECURE_HSTS_SECONDS": "0"},
    "letters.E009": {"DYNO": "web.1", "S3_BUCKET": ""},
}
ALL_WRONG = {name: value for changes in WRONG.values() for name, value in changes.items()}


def started(command: str, folder: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """What became of a process that was to start in production."""
    inherited = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    env = inherited | GOOD | {"VAR_DIR": str(folder), "PORT": str(free_port()), "HOST": "127.0.0.1"} | changes
    env |= {"PATH": f"{ROOT / '.venv' / 'bin'}{os.pathsep}{env.get('PATH', os.defpath)}"}
    return subprocess.run(
        shlex.split(command), cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False
    )


def test_it_works(tmp_path: Path) -> None:
    """What is set up as it should be is not refused."""
    done = started("python manage.py check", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "letters." not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("wrong", WRONG)
def test_a_command_is_refused(wrong: str, tmp_path: Path) -> None:
    done = started("python manage.py migrate --no-input", tmp_path, **WRONG[wrong])
    assert done.returncode != 0
    assert f"{wrong}: " in done.stderr
    assert done.stderr.count("letters.E") == 1, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("process", ["web", "worker", "trainer", "beat"])
def test_a_process_is_refused(process: str, tmp_path: Path) -> None:
    """Each of the Procfile, with all that is wrong said at once, and without a try to reach the broker or a port."""
    command = parse_procfile((ROOT / "Procfile").read_text()).processes[process]
    done = started(command, tmp_path, **ALL_WRONG)
    assert done.returncode != 0
    assert all(f"{wrong}: " in done.stderr for wrong in WRONG), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("process", ["web", "worker"])
def test_a_process_is_refused_for_a_value(process: str, tmp_path: Path) -> None:
    command = parse_procfile((ROOT / "Procfile").read_text()).processes[process]
    done = started(command, tmp_path, HOLDOUT_SHARE="1.5")
    assert done.returncode != 0
    assert "HOLDOUT_SHARE is '1.5'; it says the share of contributors" in done.stderr


@pytest.mark.slow
def test_the_web_server_is_refused_for_its_own_values(tmp_path: Path) -> None:
    command = parse_procfile((ROOT / "Procfile").read_text()).processes["web"]
    done = started(command, tmp_path, WEB_THREADS="-4")
    assert done.returncode != 0
    assert "WEB_THREADS is '-4'" in done.stderr


def test_a_mistyped_setting_is_said(tmp_path: Path) -> None:
    done = started("python manage.py check", tmp_path, DRAWING_PER_DAY="5")
    assert done.returncode == 0
    assert "letters.W004" in done.stderr
    assert "DRAWINGS_PER_DAY" in done.stderr
