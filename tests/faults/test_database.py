"""The database takes nothing in, has no connection left, or is gone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError

from letters import outages
from ml.artifact import BadArtifact
from tests.faults.asking import PROMISED, TRIES, another_letter, heals, in_time, keeper, predict, there, told
from tests.faults.proxy import between
from tests.faults.servers import Postgres
from tests.letters.training import Maintainer
from tests.letters.visitor import Visitor
from tests.programs import Programs
from tests.running import Site, running_site, wait_for

pytestmark = pytest.mark.long
AWAY = "database_unavailable"
CONNECT = """
import time
from django.db import OperationalError, connection
began = time.monotonic()
try:
    connection.ensure_connection()
except OperationalError:
    print(time.monotonic() - began)
"""


@pytest.fixture(scope="module")
def site(postgres_server: Postgres) -> Iterator[Site]:
    with running_site(processes=1, own_redis=True, env={"DATABASE_URL": postgres_server.url}) as started:
        yield started


@contextmanager
def read_only(server: Postgres) -> Iterator[None]:
    """Of the whole server: a standby, or one whose disk is nearly full."""
    server.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    server.execute("SELECT pg_reload_conf()")
    yield
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
        connection.execute("SELECT pg_reload_conf()")


@contextmanager
def no_connection_left(server: Postgres) -> Iterator[None]:
    """Somebody else has them all, those of the site too."""
    held: list[psycopg.Connection] = []

    def take_all() -> None:
        while True:
            try:
                held.append(psycopg.connect(server.url))
            except psycopg.OperationalError:
                return

    take_all()
    mine = [each.info.backend_pid for each in held]
    held[0].execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND NOT pid = ANY(%s)",
        [mine],
    )
    wait_for(lambda: (take_all(), len(held) > len(mine))[1], "those of the site are taken")
    yield
    for each in held:
        each.close()


def told_everywhere(visitor: Visitor, maintainer: Maintainer) -> None:
    """A program is told by a code, a person by a page, each when to come again."""
    told(lambda: predict(visitor), AWAY)
    told(lambda: visitor.get("/api/v1/drawings/mine"), AWAY)
    told(lambda: maintainer.post("/api/v1/training-runs", json={"kind": "head"}), AWAY)
    for page in ("/", "/samples", "/admin/"):
        answer = in_time(lambda page=page: maintainer.get(page))
        assert (answer.status_code, bool(answer.headers.get("Retry-After"))) == (503, True), page
        assert "A part of me is away" in answer.text
    assert in_time(lambda: visitor.get("/healthz")).status_code == 200


def test_a_database_that_takes_nothing_in(
    site: Site, maintainer: Maintainer, visitor: Visitor, postgres_server: Postgres
) -> None:
    """Letters are read on; what would be written is refused, and taken under the same key afterwards."""
    keep = keeper(visitor, "read-only-00")
    kept = visitor.keep()
    with read_only(postgres_server):
        told(keep, AWAY)
        assert in_time(lambda: predict(visitor)).status_code == 200
        assert in_time(lambda: visitor.see(kept["id"], kept["receipt"])).status_code == 200
        told(lambda: visitor.withdraw(kept["id"], kept["receipt"]), AWAY)
        told(lambda: maintainer.post("/api/v1/maps", json={"method": "pca", "space": "features"}), AWAY)
        assert there(site, "read-only-00") == 0
    wait_for(lambda: keep().status_code == 201, "it is kept", 10)
    assert there(site, "read-only-00") == 1
    assert visitor.withdraw(kept["id"], kept["receipt"]).status_code == 204
    assert "read-only transaction" in site.web.log()


def test_a_database_without_a_connection_left(
    site: Site, maintainer: Maintainer, visitor: Visitor, postgres_server: Postgres
) -> None:
    keep = keeper(visitor, "no-connection-00")
    with no_connection_left(postgres_server):
        told(keep, AWAY)
        told_everywhere(visitor, maintainer)
    assert heals(visitor, 20) < 20
    assert keep().status_code == 201
    assert there(site, "no-connection-00") == 1
    assert "too many clients" in site.web.log()


def test_a_database_that_was_killed(
    site: Site, maintainer: Maintainer, visitor: Visitor, postgres_server: Postgres
) -> None:
    keep = keeper(visitor, "killed-00")
    kept = visitor.keep()
    postgres_server.kill()
    try:
        told(keep, AWAY)
        told_everywhere(visitor, maintainer)
    finally:
        postgres_server.start()
        postgres_server.wait()
    heals(visitor, 30)
    assert visitor.see(kept["id"], kept["receipt"]).status_code == 200
    assert keep().status_code == 201
    assert keep().headers["Idempotent-Replayed"] == "true"
    assert there(site, "killed-00") == 1
    for part in (site.web, site.worker):
        assert part.runs(), f"{part.name} ended"


def test_what_fails_after_a_decision_was_stored_does_not_deny_it(
    site: Site, maintainer: Maintainer, visitor: Visitor
) -> None:
    """Whether it is time for a retraining is asked afterwards; here that cannot be answered."""
    kept = visitor.keep(**another_letter())

    def card() -> dict[str, Any] | None:
        asked = maintainer.post("/api/v1/review/cards", json={"wanted": {"order": "newest"}, "count": 24})
        return next((each for each in asked.json()["cards"] if each["id"] == kept["id"]), None)

    revision = wait_for(card, "it waits for review", 30)["revision"]
    site.rows("ALTER TABLE letters_policy RENAME TO letters_policy_away")
    try:
        body = {"drawing": kept["id"], "revision": revision, "action": "approve"}
        assert maintainer.post("/api/v1/review/decisions", json=body).status_code == 201
    finally:
        site.rows("ALTER TABLE letters_policy_away RENAME TO letters_policy")
    assert visitor.see(kept["id"], kept["receipt"]).json()["state"] == "approved"
    assert "letters_policy" in site.web.log(), "nothing failed"


def test_a_connection_that_cannot_be_made_is_given_up_in_time(site: Site, postgres_server: Postgres) -> None:
    """The network takes the question and brings no answer."""
    with between(postgres_server.port) as network:
        url = postgres_server.url.replace(str(postgres_server.port), str(network.port))
        network.partition()
        with Programs(site.env | {"DATABASE_URL": url}) as programs:
            took = [float(programs.run(CONNECT, timeout=60).stdout) for _ in range(TRIES)]
    assert min(took) < PROMISED, took


# --- Which faults pass ----------------------------------------------------------------------------------------------


def raised_by(act: object, *arguments: object) -> DatabaseError:
    """What Django would make of what a driver raises."""
    try:
        act(*arguments)  # type: ignore[operator]
    except (sqlite3.Error, psycopg.Error) as cause:
        error = DatabaseError(str(cause))
        error.__cause__ = cause
        return error
    raise AssertionError("nothing was raised")


def test_what_passes_in_sqlite_and_what_does_not(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "file").execute("CREATE TABLE letters (id)").connection.close()
    with sqlite3.connect(f"file:{tmp_path}/file?mode=ro", uri=True) as read_only_file:
        read_only_file_error = raised_by(read_only_file.execute, "INSERT INTO letters VALUES (1)")
        missing = raised_by(read_only_file.execute, "SELECT * FROM nothing")
    with sqlite3.connect(tmp_path / "file", timeout=0) as busy, sqlite3.connect(tmp_path / "file", timeout=0) as other:
        busy.execute("BEGIN IMMEDIATE")
        locked = raised_by(other.execute, "BEGIN IMMEDIATE")
    away = raised_by(sqlite3.connect, tmp_path / "no-folder" / "file")
    behind = DatabaseError("a transaction that cannot go on")
    behind.__context__ = away
    for passing in (read_only_file_error, locked, away, behind):
        refusal = outages.refusal_of(passing)
        assert refusal is not None, passing
        assert refusal.code == AWAY
    assert outages.refusal_of(missing) is None, "a table that is missing is a fault of ours"


def test_what_passes_in_a_storage_and_what_does_not() -> None:
    unread = BadArtifact("the model cannot be read from storage")
    unread.__cause__ = OSError(28, "No space left on device")
    for passing in (OSError(5, "Input/output error"), unread):
        refusal = outages.refusal_of(passing)
        assert refusal is not None
        assert refusal.code == "storage_unavailable"
    for other in (BadArtifact("model.tflite is not the file that was registered"), ValueError("a fault"), None):
        assert outages.refusal_of(other) is None
