"""An export on a whole site: asked for over HTTP, made by the trainer, downloaded; and what becomes of it when the
trainer dies."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from tests.letters.training import PATIENCE, Maintainer, silence, watch
from tests.running import Site, wait_for

pytestmark = pytest.mark.slow
MANY = 20_000  # drawings: enough that a trainer is still busy with them when it is killed
MAKE = """
import django; django.setup()
import copy, uuid
from letters.models import Drawing
from tests.letters.collected import a_drawing
first = a_drawing("V")
def another():
    made = copy.copy(first)
    made.pk, made.idempotency_key = uuid.uuid4(), uuid.uuid4().hex
    return made
Drawing.objects.bulk_create((another() for _ in range({count} - 1)), batch_size=500)
print(first.contributor_id)
"""


@pytest.fixture
def few(training_site: Site) -> Iterator[int]:
    """So many approved drawings, besides those that other tests left."""
    contributor = make(training_site, 3)
    yield 3
    forget(training_site, contributor)


def make(site: Site, count: int) -> uuid.UUID:
    """The contributor of so many new approved drawings."""
    return uuid.UUID(site.python(MAKE.format(count=count)).strip())


def forget(site: Site, contributor: uuid.UUID) -> None:
    """As if they had never been: other tests retrain on what is approved here."""
    theirs = "(SELECT id FROM letters_drawing WHERE contributor_id = %s)"
    with site.transaction() as change:
        # held first, so that no worker examines or places them meanwhile
        change("UPDATE letters_drawing SET usefulness = 0 WHERE contributor_id = %s", contributor)
        for table in ("examination", "mappoint"):
            change(f"DELETE FROM letters_{table} WHERE drawing_id IN {theirs}", contributor)
        change("DELETE FROM letters_drawing WHERE contributor_id = %s", contributor)


def ask(maintainer: Maintainer, format: str) -> str:
    """The id of an export that is on its way."""
    answer = maintainer.post("/api/v1/exports", json={"format": format})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def see(maintainer: Maintainer, export_id: str) -> dict[str, Any]:
    """How it stands."""
    answer = maintainer.get(f"/api/v1/exports/{export_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def wait_over(maintainer: Maintainer, export_id: str) -> dict[str, Any]:
    """The export, once it is over."""
    over = wait_for(
        lambda: found if (found := see(maintainer, export_id))["state"] in ("done", "failed") else None,
        "the export is over",
        PATIENCE,
    )
    assert over["state"] == "done", over
    return dict(over)


def download(maintainer: Maintainer, export_id: str) -> zipfile.ZipFile:
    """Its file."""
    answer = maintainer.get(f"/admin/letters/export/{export_id}/download/")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/zip")
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    return archive


def made_of(archive: zipfile.ZipFile) -> list[dict[str, Any]]:
    """Its drawings."""
    return [json.loads(line) for line in archive.read("drawings.ndjson").splitlines()]


def test_from_a_request_to_a_file(maintainer: Maintainer, few: int) -> None:
    export_id = ask(maintainer, "ndjson")
    over = wait_over(maintainer, export_id)
    archive = download(maintainer, export_id)
    assert len(made_of(archive)) == over["done"] == over["total"] >= few
    assert f"{over['done']:,} drawings of" in archive.read("DATASHEET.md").decode()


def test_what_a_killed_trainer_left_is_made_by_the_next(training_site: Site, maintainer: Maintainer, few: int) -> None:
    many = make(training_site, MANY)
    export_id = ask(maintainer, "ndjson")
    wait_for(lambda: see(maintainer, export_id)["state"] == "running", "the export runs", PATIENCE)
    training_site.trainer.kill()
    try:
        assert see(maintainer, export_id)["state"] == "running"
        forget(training_site, many)
        silence(training_site, "letters_export")
    finally:
        training_site.trainer.start()

    def over() -> bool:
        watch(training_site)  # what it sends is no good any more once a trainer that takes long to start takes it
        return bool(see(maintainer, export_id)["state"] != "running")

    wait_for(over, "it is taken up", PATIENCE)
    assert few <= wait_over(maintainer, export_id)["done"] < MANY
    (row,) = training_site.rows("SELECT attempts FROM letters_export WHERE id = %s", uuid.UUID(export_id))
    assert row["attempts"] == 2
    assert len(made_of(download(maintainer, export_id))) < MANY
    folder = training_site.folder / "cache" / "exports"
    wait_for(lambda: not list(folder.iterdir()), "nothing is left", PATIENCE)  # cleared away once it is said to be done
