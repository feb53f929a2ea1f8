"""A drawing that is taken back is gone from everything that was made of it."""

from __future__ import annotations

import io
import json
import tracemalloc
import uuid
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from letters import collect, dataset, export, influence, mine, model_facts, privacy, retrain
from letters.models import (
    Contributor,
    Decision,
    Drawing,
    Examination,
    Export,
    LetterMap,
    MapPoint,
    ModelVersion,
    Serving,
    TrainingRun,
    Withdrawal,
)
from tests.letters.collected import a_drawing, a_model, somebody

pytestmark = [
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
    pytest.mark.usefixtures("storage"),
]


def with_all_that_is_made_of_one(drawing: Drawing) -> Drawing:
    """An examination, a decision and one that undid another, a place on a map whose figure is there."""
    Examination.objects.create(
        drawing=drawing,
        model=drawing.model,
        predicted=drawing.label,
        probability=0.9,
        label_probability=0.9,
        unfamiliarity=0.1,
        trunk="t" * 64,
        features=bytes(256),
    )
    changed = {"old_state": "pending", "old_label": "Z", "new_label": "Z", "old_character": "Z", "new_character": "Z"}
    first = Decision.objects.create(drawing=drawing, actor="rita", action="approve", new_state="approved", **changed)
    Decision.objects.create(drawing=drawing, actor="rita", action="undo", new_state="pending", undoes=first, **changed)
    Decision.objects.create(drawing=drawing, actor="rita", action="approve", new_state="approved", **changed)
    name = default_storage.save(f"maps/{uuid.uuid4()}/figure.svg", ContentFile(b"<svg/>"))
    on = LetterMap.objects.create(
        method="umap",
        space="features",
        state="done",
        trigger="button",
        requested_by="ada",
        model=drawing.model,
        files={"figure.svg": [name, 6]},
        published_at=timezone.now(),
        finished_at=timezone.now(),
    )
    MapPoint.objects.create(map=on, drawing=drawing, x=0, y=0, fitted=True)
    return drawing


def an_export(state: str = "done", **fields: Any) -> Export:
    made = Export.objects.create(format="ndjson", state=state, requested_by="ada", finished_at=timezone.now(), **fields)
    if state == "done":
        made.stored = default_storage.save(f"exports/{made.pk}/letters.zip", ContentFile(b"zip"))
        made.save()
    return made


def where_it_stands(pk: uuid.UUID) -> set[str]:
    """Every table in some column of which the id of a drawing is, in whatever form."""
    forms = (str(pk), pk.hex, repr(pk.bytes)[2:-1])
    found = set()
    for model in apps.get_models(include_auto_created=True):
        with connection.cursor() as cursor:
            cursor.execute(f'SELECT * FROM "{model._meta.db_table}"')
            rows = [[bytes(each) if isinstance(each, memoryview) else each for each in row] for row in cursor]
        if any(form in repr(row) for row in rows for form in forms):
            found.add(model.__name__)
    return found


def test_it_works(storage: Path) -> None:
    """Of all tables two remember its random id: that it is gone, and which run had it. No file does."""
    drawing = with_all_that_is_made_of_one(a_drawing("Z"))
    a_drawing("X", duplicate_of=drawing, likeness="exact")
    run = TrainingRun.objects.create(kind="head", trigger="button", requested_by="ada", drawing_ids=drawing.pk.bytes)
    held = an_export()
    pk = drawing.pk
    assert where_it_stands(pk) >= {"Drawing", "Examination", "Decision", "MapPoint", "TrainingRun"}
    collect.withdraw_drawing(drawing_id=pk, receipt=collect.receipt_of(pk))
    assert where_it_stands(pk) == {"TrainingRun", "Withdrawal"}
    assert [each.name for each in storage.rglob("*") if each.is_file()] == []  # neither export nor figure
    held.refresh_from_db()
    assert (held.can_be_had, held.stored) == (False, "")
    assert LetterMap.objects.get().finished_at is None  # to be drawn anew
    assert Drawing.objects.get().duplicate_of_id is None
    assert bytes(TrainingRun.objects.get(pk=run.pk).drawing_ids) == pk.bytes


def test_what_is_public_is_gone_at_once(client: Client) -> None:
    drawing = a_drawing("Z")
    Examination.objects.create(
        drawing=drawing,
        model=drawing.model,
        predicted="Z",
        probability=0.9,
        label_probability=0.9,
        unfamiliarity=0.1,
        trunk="t" * 64,
        features=bytes(256),
    )
    address = f"/samples/{drawing.pk}.png"
    assert client.get(address).status_code == 200
    assert str(drawing.pk) in client.get("/samples").content.decode()
    assert [each.pk for each in model_facts.examples_of(a_model()).right] == [drawing.pk]
    privacy.delete_drawings([drawing.pk])
    assert client.get(address).status_code == 404
    assert str(drawing.pk) not in client.get("/samples").content.decode()
    assert model_facts.examples_of(a_model()).count == 0


def test_an_export_in_the_making_is_made_again_without_it(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stays, goes = a_drawing("Z"), a_drawing("X")
    made = export.request("ndjson", "ada")
    write, tries = dataset.write, []

    def meanwhile(*arguments: Any, **more: Any) -> Any:
        written = write(*arguments, **more)
        tries.append(written.drawings)
        if len(tries) == 1:
            privacy.delete_drawings([goes.pk])
        return written

    monkeypatch.setattr(dataset, "write", meanwhile)
    export.make(made.pk)
    made.refresh_from_db()
    assert (tries, made.state, made.done, made.can_be_had) == ([2, 1], "done", 1, True)
    assert Drawing.objects.get() == stays


@pytest.mark.parametrize("how", ["cascade", "queryset", "instance"])
def test_whoever_deletes_it_no_export_with_it_is_handed_out(how: str) -> None:
    drawing, held = a_drawing("Z"), an_export()
    if how == "cascade":
        drawing.contributor.delete()
    elif how == "queryset":
        Drawing.objects.all().delete()
    else:
        drawing.delete()
    held.refresh_from_db()
    assert (held.can_be_had, held.stored) == (False, "")


def test_an_export_that_began_while_it_was_being_deleted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It read the drawing after exports were looked for, and before it was gone for all to see."""
    drawing, began = a_drawing("Z"), []
    monkeypatch.setattr(privacy.maps, "redraw_maps_of", lambda _: began.append(an_export()))
    privacy.delete_drawings([drawing.pk])
    (made,) = began
    made.refresh_from_db()
    assert (made.can_be_had, made.stored) == (False, "")


def test_an_export_with_what_was_rejected_since_is_refused() -> None:
    drawing, held = a_drawing("Z"), an_export()
    Drawing.objects.update(state="rejected", revision=1)
    privacy.delete_drawings([drawing.pk])
    held.refresh_from_db()
    assert (held.can_be_had, held.stored) == (False, "")


def test_exports_that_cannot_hold_it_stay() -> None:
    before = an_export()
    Export.objects.update(finished_at=timezone.now() - timedelta(hours=1))
    a_drawing("Z", state="pending"), a_drawing("Z", consent="1")
    after = an_export()
    privacy.delete_drawings(Drawing.objects.values_list("pk", flat=True))
    for each in (before, after):
        each.refresh_from_db()
        assert each.can_be_had


def test_the_folder_of_a_training_forgets_it(tmp_path: Path) -> None:
    """Whatever it is at: the training has read the images by then."""
    began, drawings = timezone.now(), [a_drawing("Z") for _ in range(3)]
    arrays = {
        "images": np.stack([np.frombuffer(bytes(each.image), np.uint8).reshape(28, 28) for each in drawings]),
        "labels": np.array([1, 2, 3], np.uint8),
        "weights": np.array([0.25, 0.5, 0.75], np.float32),
        "ids": np.stack([np.frombuffer(each.pk.bytes, np.uint8) for each in drawings]),
    }
    np.savez(tmp_path / retrain.COLLECTED, **arrays)
    assert retrain.forget_withdrawn(tmp_path, began, 0) == 0
    privacy.delete_drawings([drawings[1].pk])
    assert retrain.forget_withdrawn(tmp_path, began, 0) == 1
    with np.load(tmp_path / retrain.COLLECTED) as stored:
        assert stored["labels"].tolist() == [1, 3]
        for name, values in arrays.items():
            assert np.array_equal(stored[name], values[[0, 2]]), name
    assert [each.name for each in tmp_path.iterdir()] == [retrain.COLLECTED]


def test_very_many_go_a_few_at_a_time(django_assert_max_num_queries: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred in a transaction, with as many statements as for one, but for a few."""
    sizes: list[int] = []
    delete_some = privacy._delete_some
    monkeypatch.setattr(privacy, "_delete_some", lambda ids, _: (sizes.append(len(ids)), delete_some(ids, _))[1])
    person = somebody()
    for number in range(250):
        a_drawing("Z", contributor=person, strokes=[[[60, 40], [140, 160 - number / 4]]])
    an_export(), an_export()
    with django_assert_max_num_queries(2 * 40):
        assert privacy.delete_drawings(Drawing.objects.values_list("pk", flat=True)) == 250
    assert sizes == [200, 50]
    assert Withdrawal.objects.count() == 250


# --- Everything of one contributor ---------------------------------------------------------------------------------


def test_everything_of_somebody_goes_and_nothing_of_others() -> None:
    person, other = somebody(), somebody()
    mine_, theirs = a_drawing("Z", contributor=person), a_drawing("X", contributor=other)
    assert privacy.forget(person.pk) == privacy.Forgotten(deleted=1, left=0)
    assert list(Contributor.objects.all()) == [other]
    assert list(Drawing.objects.all()) == [theirs]
    assert list(Withdrawal.objects.values_list("pk", flat=True)) == [mine_.pk]
    assert privacy.forget(person.pk) == privacy.Forgotten(deleted=0, left=0)


def test_staff_do_the_same_for_somebody_who_asks(client: Client) -> None:
    client.force_login(User.objects.create_superuser("ada"))
    person, other = somebody(), somebody()
    gone = [a_drawing("Z", contributor=person).pk for _ in range(2)]
    a_drawing("X", contributor=other)
    answer = client.post(f"/admin/letters/contributor/{person.pk}/delete/", {"post": "yes"})
    assert answer.status_code == 302
    assert list(Contributor.objects.all()) == [other]
    assert set(Withdrawal.objects.values_list("pk", flat=True)) == set(gone)


def test_what_is_interrupted_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privacy, "AT_ONCE", 2)
    person = somebody()
    for _ in range(5):
        a_drawing("Z", contributor=person)
    steps = [privacy.forget(person.pk, within=-1) for _ in range(3)]
    assert [(each.deleted, each.left, each.is_done) for each in steps] == [(2, 3, False), (2, 1, False), (1, 0, True)]
    assert not Contributor.objects.exists()


def test_a_letter_that_comes_while_all_is_deleted_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its contributor's row goes between the moment when it is found and that when it is locked."""
    person = somebody()
    find = Contributor.objects.get_or_create

    def then_deleted(*arguments: Any, **more: Any) -> Any:
        found = find(*arguments, **more)
        monkeypatch.setattr(Contributor.objects, "get_or_create", find)
        privacy.forget(person.pk)
        return found

    monkeypatch.setattr(Contributor.objects, "get_or_create", then_deleted)
    with transaction.atomic():
        assert collect._lock_contributor(person.pk).pk == person.pk
    assert Contributor.objects.get().pk == person.pk


# --- What became of them -------------------------------------------------------------------------------------------


def a_run(number: int, *drawings: Drawing, **fields: Any) -> ModelVersion:
    """A model that learned from these drawings."""
    model, _ = ModelVersion.objects.get_or_create(
        number=number, defaults={"digest": f"{number:064x}", "name": "Made", "origin": "trained"}
    )
    ids = sorted(each.pk.bytes for each in drawings)
    values = {"state": "done", "candidate": model, "finished_at": timezone.now(), "started_at": timezone.now()} | fields
    TrainingRun.objects.create(kind="head", trigger="button", requested_by="ada", drawing_ids=b"".join(ids), **values)
    return model


def test_each_is_told_who_learned_from_it_and_what_holds_it() -> None:
    person = somebody()
    first, second, waits = (a_drawing(each, contributor=person) for each in "ZXV")
    Drawing.objects.filter(pk=waits.pk).update(state="pending")
    a_run(2, first)
    a_run(3, first, second)
    a_run(4, second, candidate=None)  # it came to nothing
    held = an_export()
    page = mine.page(person.pk)
    fates = page.fates
    assert [fates[each.pk].learned_by for each in (first, second, waits)] == [[2, 3], [3], []]
    assert [fates[each.pk].exports for each in (first, second, waits)] == [[held], [held], []]
    assert privacy.outlook(person.pk) == privacy.Outlook(drawings=3, models=[2, 3], serving=None, exports=1)


def test_the_file_tells_the_same_and_of_the_contributor_all_that_is_held() -> None:
    person, since = somebody(held_out=True), timezone.now()
    Contributor.objects.filter(pk=person.pk).update(muted_at=since)
    a_run(2, a_drawing("Z", contributor=person))
    held, refused = an_export(), an_export(withdrawn_at=timezone.now())
    with zipfile.ZipFile(io.BytesIO(b"".join(mine.archive(person.pk, "http://here")))) as archive:
        value = json.loads(archive.read("drawings.json"))
    assert value["contributor"] == {
        "id": str(person.pk),
        "since": person.created_at.isoformat(),
        "held_out": True,
        "muted_since": since.isoformat(),
    }
    (told,) = value["drawings"]
    assert told["learned_by"] == [2]
    assert {each["made_at"]: each["handed_out"] for each in told["exports"]} == {
        held.created_at.isoformat(): True,
        refused.created_at.isoformat(): False,
    }


def test_a_model_whose_files_are_gone_is_no_start() -> None:
    """Of a retraining, however little it learned of what was withdrawn."""
    gone = a_drawing("Z")
    first, second = a_run(2, a_drawing("X")), a_run(3, gone)
    for child, parent in ((first, a_model()), (second, first)):
        ModelVersion.objects.filter(pk=child.pk).update(config={"parent": parent.digest})
    privacy.delete_drawings([gone.pk])
    assert influence.base_of(second) == first
    ModelVersion.objects.filter(pk=first.pk).update(discarded_at=timezone.now())
    assert influence.base_of(second) == a_model()


def test_where_the_line_ends_the_shipped_model_is_the_start() -> None:
    """The newest of them, where a model is made from none that is registered here."""
    gone = a_drawing("Z")
    made = a_run(2, gone)
    newer = ModelVersion.objects.create(number=5, digest="5" * 64, name="Newer", origin="shipped")
    privacy.delete_drawings([gone.pk])
    assert influence.base_of(made) == newer


def test_it_is_said_whether_the_serving_model_learned_and_what_is_still_handed_out() -> None:
    person = somebody()
    serves = a_run(2, a_drawing("Z", contributor=person))
    Serving.objects.create(model=serves)
    an_export(), an_export(withdrawn_at=timezone.now())
    assert privacy.outlook(person.pk) == privacy.Outlook(drawings=1, models=[2], serving=2, exports=1)
    Serving.objects.update(model=a_model())
    assert privacy.outlook(person.pk).serving is None


def test_what_may_not_be_published_is_in_no_export() -> None:
    """Though it was approved while one was made."""
    drawing = a_drawing("Z", consent="1")
    an_export()
    assert privacy.fates([drawing])[drawing.pk].exports == []


def test_the_reason_is_that_of_the_rejection_that_stands() -> None:
    drawing = a_drawing("Z", state="rejected")
    same = {"drawing": drawing, "actor": "rita", "old_state": "pending", "old_label": "Z", "new_label": "Z"}
    same |= {"old_character": "Z", "new_character": "Z"}
    for reason in ("unreadable", "offensive"):
        Decision.objects.create(action="reject", new_state="rejected", reason=reason, **same)
    assert privacy.fates([drawing])[drawing.pk].reason == "offensive"
    drawing.state = "approved"
    Decision.objects.create(action="approve", new_state="approved", **same)
    assert privacy.fates([drawing])[drawing.pk].reason == ""


@pytest.mark.parametrize(
    ("approved", "ended", "held"),
    [(-2, None, True), (-2, 2, True), (-2, 0.5, True), (0.5, 2, True), (-3, -2, False), (2, None, False)],
)
def test_an_export_holds_what_was_approved_while_it_was_made(approved: float, ended: float | None, held: bool) -> None:
    """It was made from 0 to 1."""
    zero = timezone.now() - timedelta(days=10)
    drawing = a_drawing("Z", state="pending" if ended else "approved")
    Drawing.objects.update(created_at=zero - timedelta(hours=9))
    drawing.refresh_from_db()
    same = {"drawing": drawing, "actor": "rita", "old_label": "Z", "new_label": "Z", "old_character": "Z"}
    same |= {"new_character": "Z"}
    decided = [Decision.objects.create(action="approve", old_state="pending", new_state="approved", **same)]
    if ended is not None:
        decided.append(Decision.objects.create(action="undo", old_state="approved", new_state="pending", **same))
    for each, at in zip(decided, (approved, ended), strict=False):
        Decision.objects.filter(pk=each.pk).update(created_at=zero + timedelta(hours=at or 0))
    made = an_export()
    Export.objects.update(created_at=zero, finished_at=zero + timedelta(hours=1))
    assert [each.pk for each in privacy.fates([drawing])[drawing.pk].exports] == ([made.pk] if held else [])


def test_a_page_costs_as_much_among_very_many(django_assert_max_num_queries: Callable[..., Any]) -> None:
    person = somebody()
    drawings = [a_drawing("Z", contributor=person, strokes=[[[60, 40], [140, 160 - at / 4]]]) for at in range(130)]
    a_run(2, *drawings)
    an_export()
    with django_assert_max_num_queries(6):
        page = mine.page(person.pk)
    assert (len(page.drawings), page.total, len(page.fates)) == (100, 130, 100)
    with django_assert_max_num_queries(6):
        rest = mine.page(person.pk, after=page.after)
    assert {*page.drawings, *rest.drawings} == set(drawings)


def test_drawings_of_one_moment_are_on_one_page_each() -> None:
    """As those of an import are."""
    person = somebody()
    for _ in range(7):
        a_drawing("Z", contributor=person)
    Drawing.objects.update(created_at=timezone.now())
    seen, after = [], ""
    while True:
        page = mine.page(person.pk, after=after, limit=2)
        seen += [each.pk for each in page.drawings]
        after = page.after
        if not after:
            break
    assert len(seen) == len(set(seen)) == 7


def test_the_file_of_many_takes_no_more_memory_than_that_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mine, "CHUNK", 20)
    person, peaks = somebody(), []
    for count in (40, 160):
        while person.drawings.count() < count:
            a_drawing("Z", contributor=person, strokes=[[[60 + at / 8, 40 + at, at] for at in range(300)]])
        tracemalloc.start()
        pieces = [len(each) for each in mine.archive(person.pk, "http://here")]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert sum(pieces) > 2 * max(pieces)  # it is sent as it is made
    assert peaks[1] < 1.3 * peaks[0]
