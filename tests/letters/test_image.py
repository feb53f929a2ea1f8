"""The image and its roles, rehearsed without Docker: a tree that nobody may write to, users who own nothing, and where
nothing is trained no TensorFlow. `python -m scripts.rehearse_image` does it with environments made from the lock."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.rehearse_image import ROLES, Rehearsal, linked, rehearsal
from tests import running

pytestmark = [pytest.mark.slow, pytest.mark.database]
HEAVY = ("tensorflow", "keras", "umap", "sklearn", "scipy", "numba", "matplotlib", "pyarrow", "h5py")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """All roles of compose.yaml, by their own commands; on PostgreSQL in production, else on a SQLite file."""
    folder = tmp_path_factory.mktemp("image")
    for path in (folder, *folder.parents):
        if path.owner() == folder.owner() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)  # pytest keeps its folders to itself
    environments = {"serve": linked(folder / "serve", "requirements-serve.txt"), "all": Path(sys.prefix)}
    with running._some_redis(folder, own=True) as (redis, _), running._some_database(folder / "image") as database:
        env = {"DATABASE_URL": database, "REDIS_URL": redis}
        if database.startswith("sqlite"):
            env |= {"DATABASE_URL": f"sqlite:///{folder}/var/lib/letterloop/media/test.sqlite3"}
            env |= {"LETTERLOOP_ENV": "embedded", "SECURE_SSL_REDIRECT": "off"}
        with rehearsal(folder, environments, env) as started:
            before = everything(started)
            started.release()
            for role in ROLES:
                started.start(role)
            started.check_health()
            yield started
            assert everything(started) == before, "something wrote to the code of the image"


def everything(image: Rehearsal) -> dict[str, str]:
    code = image.image.code
    return {
        str(path.relative_to(code)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in code.rglob("*")
        if path.is_file()
    }


def test_a_letter_is_read_and_kept(image: Rehearsal) -> None:
    assert image.draw()["label"] == "Z"
    state = json.loads(image.check_health().split(" ", 1)[1])
    assert state["ready"]
    assert {state["checks"][name]["state"] for name in ("database", "broker")} == {"ok"}


def test_what_runs_has_no_rights(image: Rehearsal) -> None:
    """And could not write to the code if it tried."""
    assert image.rights() == {(image.image.user, 0)}
    command = ["sh", "-c", f"touch {image.image.code}/letters/another.py"]
    done = subprocess.run([*image.image.as_user, *command], capture_output=True, text=True, check=False)
    assert "Permission denied" in done.stderr


def test_what_serves_has_nothing_that_trains(image: Rehearsal) -> None:
    """Else this rehearsal would say nothing of the smaller image."""
    code = f"import importlib.util as u; print([name for name in {HEAVY!r} if u.find_spec(name)])"
    python = image.image.environments["serve"] / "bin" / "python"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", ["/", "/explore/", "/model/", "/about", "/samples", "/api/", "/admin/login/", "/mine"])
def test_its_pages_need_nothing_more(image: Rehearsal, path: str) -> None:
    answer = image.get(path)
    assert answer.status_code == 200, answer.text


def test_its_static_files_are_in_the_image(image: Rehearsal) -> None:
    page: Any = image.get("/").text
    script = page.split('src="/static/')[1].split('"')[0]
    assert image.get(f"/static/{script}").status_code == 200


def test_a_worker_says_that_it_is_well(image: Rehearsal) -> None:
    """By the check of compose.yaml."""
    for role in ("worker", "trainer"):
        assert "pong" in image.ping(role)
