"""An export of the site: asked for, made once, handed out to whoever may have it, and refused after a withdrawal."""

from __future__ import annotations

import uuid
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.files.storage import default_storage
from django.test import Client
from django.utils import timezone

from letters import collect, dataset, errors, export
from letters.models import Drawing, Export
from tests.letters.collected import a_drawing, somebody

pytestmark = pytest.mark.django_db
PAGE = "/admin/letters/export/"
Committed = Callable[..., Any]


@pytest.fixture(autouse=True)
def _folders(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.VAR_DIR = tmp_path / "var"
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}  # pages without `collectstatic`
    settings.STORAGES = settings.STORAGES | {"staticfiles": plain}


@pytest.fixture
def committed(django_capture_on_commit_callbacks: Committed) -> Committed:
    """Runs what was to follow a commit."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


def made(format: str = "ndjson") -> Export:
    """An export that is done."""
    asked = export.request(format, "ada")
    export.make(asked.pk)
    return Export.objects.get(pk=asked.pk)


def files() -> list[str]:
    """All that lies in storage."""
    root = Path(default_storage.location)  # type: ignore[attr-defined]
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def keys_in(done: Export) -> bytes:
    with default_storage.open(done.stored) as stored, zipfile.ZipFile(stored) as archive:
        return archive.read("drawings.ndjson")


@pytest.mark.parametrize("format", Export.Format.values)
def test_it_works(format: str) -> None:
    a_drawing()
    done = made(format)
    assert (done.state, done.done, done.total, done.message) == ("done", 1, 1, "")
    assert done.size == default_storage.size(done.stored) > 0
    assert files() == [done.stored]
    assert not list((Path(export.settings.VAR_DIR) / "cache" / "exports").iterdir())
    opened, name = export.open_file(done.pk)
    with opened:
        assert zipfile.is_zipfile(opened)
    assert name.startswith(f"letterloop-{format}-")


# --- Asked for -----------------------------------------------------------------------------------------------------


def test_asked_for_twice_it_is_one() -> None:
    a_drawing()
    first = export.request("idx", "ada")
    assert export.request("idx", "bob") == first
    assert export.request("ndjson", "bob") != first
    export.make(first.pk)
    assert export.request("idx", "bob") != first


def test_nothing_to_export_is_said_at_once() -> None:
    a_drawing(state="pending")
    with pytest.raises(errors.NothingToExport):
        export.request("idx", "ada")
    assert Export.objects.count() == 0


# --- Made once -----------------------------------------------------------------------------------------------------


def test_a_second_delivery_does_nothing() -> None:
    a_drawing()
    done = made()
    export.make(done.pk)
    assert Export.objects.get() == done
    assert Export.objects.get().attempts == 1


def test_one_that_another_worker_has_is_left_alone() -> None:
    a_drawing()
    asked = export.request("idx", "ada")
    Export.objects.update(state="running", claim=uuid.uuid4(), heartbeat_at=timezone.now())
    export.make(asked.pk)
    assert Export.objects.get().state == "running"
    assert files() == []


def test_what_is_no_longer_there_is_not_made() -> None:
    export.make(uuid.uuid4())


def test_a_lost_message_is_sent_again() -> None:
    a_drawing()
    asked = export.request("idx", "ada")
    assert export.stale() == []
    Export.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=1))
    assert export.stale() == [asked.pk]


def silent(**changes: Any) -> Export:
    """A running export whose worker has not been heard of for a minute."""
    asked = export.request("idx", "ada")
    long_ago = timezone.now() - timedelta(minutes=1)
    fields = {"state": "running", "claim": uuid.uuid4(), "heartbeat_at": long_ago, "attempts": 1} | changes
    Export.objects.update(**fields)
    return asked


def test_one_whose_worker_died_is_made_by_another() -> None:
    a_drawing()
    asked = silent()
    assert export.stale() == [asked.pk]
    export.make(asked.pk)
    done = Export.objects.get()
    assert (done.state, done.attempts) == ("done", 2)


def test_one_that_has_cost_three_workers_has_failed() -> None:
    a_drawing()
    silent(attempts=3)
    assert export.stale() == []
    failed = Export.objects.get()
    assert failed.state == "failed"
    assert "3 workers ended while they made it" in failed.message


def test_a_worker_that_is_only_slow_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was taken for dead and another one has the export: what it still does comes to nothing."""
    a_drawing()
    asked = export.request("ndjson", "ada")
    monkeypatch.setattr(export, "BEAT", 0)
    other = uuid.uuid4()

    def take_over(*_: object, report: Callable[[int], None], **__: object) -> None:
        Export.objects.update(claim=other)
        report(1)
        raise AssertionError("it goes on")

    monkeypatch.setattr(dataset, "write", take_over)
    export.make(asked.pk)
    left = Export.objects.get()
    assert (left.state, left.claim) == ("running", other)
    assert files() == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
        (errors.NothingToExport(0), "approve some in the review first"),
    ],
)
def test_a_failure_says_why(error: Exception, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    a_drawing()
    asked = export.request("idx", "ada")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(dataset, "write", fail)
    export.make(asked.pk)
    failed = Export.objects.get()
    assert (failed.state, failed.stored) == ("failed", "")
    assert words in failed.message


def test_it_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "BEAT", 0)
    monkeypatch.setattr(dataset, "CHUNK", 2)
    for _ in range(5):
        a_drawing()
    asked = export.request("ndjson", "ada")
    seen: list[tuple[int, int]] = []
    update = export._Work._update

    def note(self: Any, **values: Any) -> None:
        update(self, **values)
        seen.append(Export.objects.values_list("done", "total").get())

    monkeypatch.setattr(export._Work, "_update", note)
    export.make(asked.pk)
    assert (2, 5) in seen
    assert (4, 5) in seen


# --- Handed out no more --------------------------------------------------------------------------------------------


def test_a_withdrawn_drawing_takes_its_exports_along(committed: Committed) -> None:
    drawing = a_drawing()
    a_drawing()
    done = made()
    with committed():
        collect.withdraw_drawing(drawing_id=drawing.pk, receipt=collect.receipt_of(drawing.pk))
    with pytest.raises(errors.ExportWithdrawn, match="make a new export"):
        export.open_file(done.pk)
    assert files() == []
    again = made()
    assert str(drawing.pk).encode() not in keys_in(again)
    export.open_file(again.pk)[0].close()


def test_a_drawing_that_staff_delete_does_so_too(committed: Committed) -> None:
    drawing = a_drawing()
    done = made()
    with committed():
        Drawing.objects.filter(pk=drawing.pk).delete()
    with pytest.raises(errors.ExportWithdrawn):
        export.open_file(done.pk)


def test_so_does_a_contributor_with_all_that_is_theirs(committed: Committed) -> None:
    drawing = a_drawing()
    done = made()
    with committed():
        drawing.contributor.delete()
    with pytest.raises(errors.ExportWithdrawn):
        export.open_file(done.pk)


@pytest.mark.parametrize("changes", [{"state": "pending"}, {"consent": "1"}], ids=str)
def test_a_drawing_that_no_export_holds_does_not(changes: dict[str, Any], committed: Committed) -> None:
    a_drawing()
    other = a_drawing(**changes)
    done = made()
    with committed():
        other.delete()
    export.open_file(done.pk)[0].close()


def test_a_drawing_that_came_later_does_not(committed: Committed) -> None:
    a_drawing()
    done = made()
    Export.objects.update(finished_at=timezone.now() - export.CLOCKS_DIFFER - timedelta(minutes=1))
    later = a_drawing()
    with committed():
        later.delete()
    export.open_file(done.pk)[0].close()


def test_a_withdrawal_while_it_is_made_begins_it_again(monkeypatch: pytest.MonkeyPatch, committed: Committed) -> None:
    drawing = a_drawing()
    a_drawing()
    asked = export.request("ndjson", "ada")
    write = dataset.write

    def withdraw_after(*arguments: Any, **options: Any) -> dataset.Written:
        written = write(*arguments, **options)
        with committed():
            Drawing.objects.filter(pk=drawing.pk).delete()
        return written

    monkeypatch.setattr(dataset, "write", withdraw_after)
    export.make(asked.pk)
    done = Export.objects.get()
    assert (done.state, done.done, done.withdrawn_at) == ("done", 1, None)
    assert str(drawing.pk).encode() not in keys_in(done)
    assert files() == [done.stored]


def test_an_export_that_is_deleted_takes_its_file_along(committed: Committed) -> None:
    a_drawing()
    done = made()
    with committed():
        export.discard([done.pk])
    assert files() == []
    with pytest.raises(errors.ExportNotFound):
        export.open_file(done.pk)


# --- The staff's page and API --------------------------------------------------------------------------------------


@pytest.fixture
def maintainer(client: Client) -> Client:
    """A browser of somebody of the group."""
    user = User.objects.create_user("ada", is_staff=True)
    user.groups.add(Group.objects.get(name="maintainers"))
    client.force_login(user)
    return client


@pytest.fixture
def reviewer() -> Client:
    """A browser of somebody who may review and no more."""
    user = User.objects.create_user("bob", is_staff=True)
    user.groups.add(Group.objects.get(name="reviewers"))
    client = Client()
    client.force_login(user)
    return client


def test_a_button_asks_for_one(maintainer: Client) -> None:
    a_drawing()
    a_drawing(consent="1")
    assert "1 stays here: their contributors agreed to less" in maintainer.get(PAGE).content.decode()
    assert maintainer.post(f"{PAGE}request/", {"format": "idx"}).status_code == 302
    asked = Export.objects.get()
    assert (asked.format, asked.state, asked.requested_by) == ("idx", "queued", "ada")
    assert "waiting" in maintainer.get(PAGE).content.decode()


def test_the_button_says_what_is_wrong(maintainer: Client) -> None:
    page = maintainer.post(f"{PAGE}request/", {"format": "idx"}, follow=True).content.decode()
    assert "There is no such drawing to export yet" in page
    page = maintainer.post(f"{PAGE}request/", {"format": "xls"}, follow=True).content.decode()
    assert "Choose a format" in page


def test_the_file_comes_in_pieces(maintainer: Client) -> None:
    a_drawing()
    done = made()
    answer = maintainer.get(f"{PAGE}{done.pk}/download/")
    assert (answer.status_code, answer.streaming) == (200, True)
    assert answer["Content-Type"] == "application/zip"
    assert f'filename="{Path(done.stored).name}"' in answer["Content-Disposition"]
    assert len(b"".join(answer.streaming_content)) == done.size == int(answer["Content-Length"])  # type: ignore[attr-defined]


def test_a_withdrawn_one_is_refused_with_words(maintainer: Client, committed: Committed) -> None:
    drawing = a_drawing()
    done = made()
    with committed():
        drawing.delete()
    answer = maintainer.get(f"{PAGE}{done.pk}/download/")
    assert answer.status_code == 410
    assert "make a new export" in answer.content.decode()
    page = maintainer.get(PAGE).content.decode()
    assert "A drawing in it was withdrawn or deleted since" in page
    assert "Download" not in page


def test_staff_delete_an_export(maintainer: Client, committed: Committed) -> None:
    a_drawing()
    done = made()
    with committed():
        maintainer.post(f"{PAGE}{done.pk}/delete/", {"post": "yes"})
    assert (Export.objects.count(), files()) == (0, [])


def test_who_may_only_review_may_not_take_the_data(reviewer: Client) -> None:
    a_drawing()
    done = made()
    asked = [
        reviewer.get(PAGE),
        reviewer.post(f"{PAGE}request/", {"format": "idx"}),
        reviewer.get(f"{PAGE}{done.pk}/download/"),
        reviewer.post(f"{PAGE}{done.pk}/delete/", {"post": "yes"}),
        reviewer.get("/api/v1/exports"),
        reviewer.post("/api/v1/exports", {"format": "idx"}, content_type="application/json"),
        reviewer.get(f"/api/v1/exports/{done.pk}"),
    ]
    assert [answer.status_code for answer in asked] == [403] * 7
    assert Export.objects.count() == 1


def test_visitors_may_not_either() -> None:
    a_drawing()
    done = made()
    somebody_else = Client()
    assert somebody_else.get(f"{PAGE}{done.pk}/download/").status_code == 302
    assert somebody_else.get("/api/v1/exports").status_code == 403


def test_the_api_asks_and_tells(maintainer: Client) -> None:
    a_drawing(contributor=somebody())
    answer = maintainer.post("/api/v1/exports", {"format": "parquet"}, content_type="application/json")
    assert answer.status_code == 202
    asked = answer.json()
    assert (asked["state"], asked["format"], asked["withdrawn"]) == ("queued", "parquet", False)
    export.make(uuid.UUID(asked["id"]))
    (listed,) = maintainer.get("/api/v1/exports").json()["exports"]
    assert listed == maintainer.get(f"/api/v1/exports/{asked['id']}").json()
    assert (listed["state"], listed["done"], listed["total"]) == ("done", 1, 1)
    assert maintainer.get(f"/api/v1/exports/{uuid.uuid4()}").status_code == 404


def test_the_api_says_what_is_wrong(maintainer: Client) -> None:
    for body, status, code in (({"format": "xls"}, 400, "invalid"), ({"format": "idx"}, 409, "nothing_to_export")):
        answer = maintainer.post("/api/v1/exports", body, content_type="application/json")
        assert (answer.status_code, answer.json()["code"]) == (status, code)
