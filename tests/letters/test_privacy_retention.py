"""What is kept no longer than the policy says is deleted every night, and nothing else is."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from letters import privacy, registry, retention, tasks
from letters.models import (
    Contributor,
    Deployment,
    Drawing,
    Export,
    Import,
    ModelVersion,
    Policy,
    Purge,
    Serving,
    TrainingRun,
    Withdrawal,
)
from tests.letters.collected import a_drawing, a_model, somebody
from tests.letters.reviewing import a_reviewer
from tests.running import ROOT, Site

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)
NEVER = {f"{name}_days": 0 for name in ("rejected", "pending", "drawings", "exports", "models", "log")}


@pytest.fixture(autouse=True)
def machine(settings: Any, tmp_path: Path) -> Path:
    """Storage and disk of this test alone; nothing has its time but what a test says."""
    settings.MEDIA_ROOT, settings.VAR_DIR = tmp_path / "media", tmp_path
    settings.MODEL_CACHE_DIR, settings.RUNS_DIR = tmp_path / "cache" / "models", tmp_path / "runs"
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}  # pages without `collectstatic`
    settings.STORAGES = settings.STORAGES | {"staticfiles": plain}
    Policy.objects.update_or_create(id=1, defaults=NEVER)
    return tmp_path


def policy(**days: int) -> None:
    Policy.objects.update(**{f"{name}_days": number for name, number in days.items()})


def days_ago(days: float) -> datetime:
    return timezone.now() - timedelta(days=days)


def of_age(drawing: Drawing, *, state_days: float, given_days: float = 100) -> Drawing:
    Drawing.objects.filter(pk=drawing.pk).update(state_since=days_ago(state_days), created_at=days_ago(given_days))
    return drawing


def there() -> set[uuid.UUID]:
    return set(Drawing.objects.values_list("pk", flat=True))


def counted(note: Purge) -> dict[str, int]:
    """What was deleted at all."""
    return {name: count for name, count in note.counts.items() if count}


@pytest.mark.parametrize(("state", "name"), [("rejected", "rejected"), ("pending", "pending")])
def test_it_works(state: str, name: str) -> None:
    """So many days after it came to be so; an approved one stays however old it is."""
    policy(**{name: 30})
    of_age(a_drawing("Z", state=state), state_days=31)
    younger = of_age(a_drawing("X", state=state), state_days=29)
    other = of_age(a_drawing("V"), state_days=99)
    assert retention.due()[name] == 1
    assert counted(retention.purge()) == {name: 1}
    assert there() == {younger.pk, other.pk}
    assert not Withdrawal.objects.exists()  # nobody took it back


def test_drawings_of_any_state_go_by_when_they_were_given() -> None:
    policy(drawings=365)
    for state in ("approved", "pending", "rejected"):
        of_age(a_drawing("Z", state=state), state_days=1, given_days=366)
    stays = of_age(a_drawing("Z"), state_days=1, given_days=364)
    assert counted(retention.purge()) == {"drawings": 3}
    assert there() == {stays.pk}


def test_zero_is_for_ever() -> None:
    for state in ("approved", "pending", "rejected"):
        of_age(a_drawing("Z", state=state), state_days=9999, given_days=9999)
    an_export(9999), a_trained(9999)
    assert set(retention.due().values()) == {0}
    assert counted(retention.purge()) == {}
    assert len(there()) == 3


def an_export(age: float, state: str = "done") -> Export:
    made = Export.objects.create(format="ndjson", state=state, requested_by="ada")
    made.stored = default_storage.save(f"exports/{made.pk}/letters.zip", ContentFile(b"zip"))
    made.finished_at = days_ago(age)
    made.save()
    return made


def test_exports_go_with_their_files() -> None:
    policy(exports=90)
    old, failed, young = an_export(91), an_export(91, "failed"), an_export(89)
    at_work = an_export(91, "running")
    assert counted(retention.purge()) == {"exports": 2}
    assert set(Export.objects.values_list("pk", flat=True)) == {young.pk, at_work.pk}
    assert not default_storage.exists(old.stored)
    assert not default_storage.exists(failed.stored)
    assert default_storage.exists(young.stored)


def a_trained(age: float, number: int = 2, **fields: Any) -> ModelVersion:
    """A model with a file in storage."""
    made = ModelVersion.objects.create(number=number, digest=f"{number:064x}", name="Made", origin="trained", **fields)
    ModelVersion.objects.filter(pk=made.pk).update(created_at=days_ago(age))
    for name in ("manifest.json", "model.tflite"):
        default_storage.save(f"models/{made.digest}/{name}", ContentFile(b"x"))
    return made


def test_models_that_never_served_lose_their_files() -> None:
    """Those that serve, that did and may again, that shipped or wait for a word keep them."""
    policy(models=180)
    shipped = a_trained(999, 1)
    ModelVersion.objects.filter(pk=shipped.pk).update(origin="shipped")
    serves, served, waits, refused = (a_trained(181, number) for number in (2, 3, 4, 5))
    a_trained(179, 6)
    Serving.objects.create(model=serves)
    for each in (serves, served):
        Deployment.objects.create(model=each, actor="ada", reason="it is so")
    TrainingRun.objects.create(
        kind="head", trigger="button", requested_by="ada", state="done", candidate=waits, outcome="passed"
    )
    assert retention.due()["models"] == 1
    assert counted(retention.purge()) == {"models": 1}
    gone = list(ModelVersion.objects.exclude(discarded_at=None))
    assert gone == [refused]
    assert not default_storage.exists(f"models/{refused.digest}/manifest.json")
    assert default_storage.exists(f"models/{served.digest}/manifest.json")
    assert counted(retention.purge()) == {}


def test_models_that_learned_from_what_was_withdrawn_lose_their_files_once_they_serve_no_more() -> None:
    policy(models=180)
    serves, served = a_trained(181, 2), a_trained(181, 3)
    drawing = a_drawing("Z")
    for each in (serves, served):
        Deployment.objects.create(model=each, actor="ada", reason="it is so")
        TrainingRun.objects.create(
            kind="head",
            trigger="button",
            requested_by="ada",
            state="done",
            candidate=each,
            outcome="promoted",
            drawing_ids=drawing.pk.bytes,
        )
    Serving.objects.create(model=serves)
    assert retention.due()["models"] == 0
    privacy.delete_drawings([drawing.pk])
    assert counted(retention.purge()) == {"models": 1}
    assert list(ModelVersion.objects.exclude(discarded_at=None)) == [served]


def test_contributors_of_whom_nothing_is_left_go() -> None:
    """But for those who are muted, and those who came lately."""
    empty, young, muted, gave = (somebody() for _ in range(4))
    a_drawing("Z", contributor=gave)
    Contributor.objects.exclude(pk=young.pk).update(created_at=days_ago(31))
    Contributor.objects.filter(pk=muted.pk).update(muted_at=timezone.now())
    collection = Import.objects.create(name="old", consent="they agreed")
    used = Import.objects.create(name="used", consent="they agreed")
    Import.objects.update(created_at=days_ago(31))
    Contributor.objects.filter(pk=gave.pk).update(imported_from=used)
    assert counted(retention.purge()) == {"contributors": 1, "imports": 1}
    assert set(Contributor.objects.all()) == {young, muted, gave}
    assert not Contributor.objects.filter(pk=empty.pk).exists()
    assert list(Import.objects.all()) == [used]
    assert collection.pk != used.pk


def test_a_contributor_who_gives_the_first_letter_at_this_moment_stays() -> None:
    """It was found to have nothing, and has something when it is locked."""
    found = [somebody(), somebody()]
    drawing = a_drawing("Z", contributor=found[0])
    assert retention._delete_contributors(found) == 1
    assert list(Contributor.objects.all()) == [found[0]]
    assert there() == {drawing.pk}


def test_what_was_purged_is_known_for_400_days() -> None:
    old, young = Purge.objects.create(), Purge.objects.create()
    for note, age in ((old, 401), (young, 399)):
        Purge.objects.filter(pk=note.pk).update(created_at=days_ago(age))
    done = retention.purge()
    assert counted(done) == {"notes": 1}
    assert set(Purge.objects.all()) == {young, done}


def test_what_a_purge_deletes_leaves_exports_too() -> None:
    """And the next one is made without it: its time was over, though nobody took it back."""
    policy(drawings=365)
    held = an_export(0)
    of_age(a_drawing("Z"), state_days=300, given_days=366)
    assert counted(retention.purge()) == {"drawings": 1}
    held.refresh_from_db()
    assert (held.can_be_had, held.stored) == (False, "")


def test_sessions_and_the_staffs_log() -> None:
    policy(log=365)
    user = a_reviewer("rita")
    for age in (364, 366):
        entry = LogEntry.objects.create(user=user, object_repr="Z (1234abcd)", action_flag=3)
        LogEntry.objects.filter(pk=entry.pk).update(action_time=days_ago(age))
    for number, age in enumerate((1, -1)):
        Session.objects.create(session_key=str(number), session_data="", expire_date=days_ago(age))
    assert counted(retention.purge()) == {"log": 1, "sessions": 1}
    assert Session.objects.get().session_key == "1"


def test_what_nobody_knows_of_goes_from_storage_and_disk(machine: Path) -> None:
    known = an_export(1)
    cached = machine / "cache"
    for name in ("exports", "maps", "models"):
        for age in (6, 8):
            stored = default_storage.save(f"{name}/{uuid.UUID(int=age)}/a/file", ContentFile(b"x"))
            when = days_ago(age).timestamp()
            os.utime(default_storage.path(stored), (when, when))
    old = default_storage.path(known.stored)
    os.utime(old, (0, 0))
    kept = a_model()
    for name in (f"models/{kept.digest}", "models/unknown", f"exports/{uuid.uuid4()}-12345678"):
        (cached / name).mkdir(parents=True)
    (machine / "runs" / f"{uuid.uuid4()}-1").mkdir(parents=True)
    assert counted(retention.purge()) == {"storage": 3}
    for name in ("exports", "maps", "models"):
        assert str(uuid.UUID(int=8)) not in default_storage.listdir(name)[0]
        assert str(uuid.UUID(int=6)) in default_storage.listdir(name)[0]
    assert default_storage.exists(known.stored)
    assert [each.name for each in (cached / "models").iterdir()] == [kept.digest]
    assert list((cached / "exports").iterdir()) == []
    assert list((machine / "runs").iterdir()) == []


# --- How it is done ------------------------------------------------------------------------------------------------


def test_a_dry_run_says_what_would_go_and_deletes_nothing() -> None:
    policy(rejected=30)
    of_age(a_drawing("Z", state="rejected"), state_days=31)
    said = io.StringIO()
    call_command("purge", "--dry-run", stdout=said)
    assert "        1 rejected drawings" in said.getvalue()
    assert said.getvalue().endswith("Nothing was deleted.\n")
    assert (len(there()), Purge.objects.count()) == (1, 0)
    done = io.StringIO()
    call_command("purge", stdout=done)
    assert done.getvalue().replace("Deleted.", "Nothing was deleted.") == said.getvalue()
    assert (len(there()), Purge.objects.count()) == (0, 1)


def test_more_than_fit_one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    policy(rejected=30)
    for _ in range(5):
        of_age(a_drawing("Z", state="rejected"), state_days=31)
    sizes: list[int] = []
    delete = privacy.delete_drawings
    monkeypatch.setattr(
        privacy, "delete_drawings", lambda ids, **more: (sizes.append(len(ids)), delete(ids, **more))[1]
    )
    assert counted(retention.purge()) == {"rejected": 5}
    assert sizes == [2, 2, 1]


OLD = """
import django; django.setup()
from datetime import timedelta
from django.utils import timezone
from letters.models import Drawing
from tests.letters.collected import a_drawing, somebody
person = somebody()
ids = [a_drawing("Z", contributor=person, state="rejected").pk for _ in range(30)]
Drawing.objects.filter(pk__in=ids).update(state_since=timezone.now() - timedelta(days=366))
"""


def test_two_at_once_do_no_harm(site: Site) -> None:
    """By the command, on a real database; both find the same to delete."""
    site.python(OLD)
    before, notes = site.count("drawing"), site.count("purge")
    command = [sys.executable, "manage.py", "purge"]
    both = [subprocess.Popen(command, cwd=ROOT, env=site.env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [each.communicate(timeout=120)[0] for each in both]
    assert [each.returncode for each in both] == [0, 0]
    assert site.count("drawing") == before - 30
    assert site.count("purge") == notes + 2
    deleted = [int(re.search(r"(\d+) rejected drawings", each)[1]) for each in said]
    assert sum(deleted) == 30


def test_what_cannot_be_deleted_keeps_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    policy(rejected=30, exports=90)
    an_export(91)
    of_age(a_drawing("Z", state="rejected"), state_days=31)
    monkeypatch.setattr(retention.export, "discard", refuse)
    with pytest.raises(CommandError, match="exports could not all be deleted: the disk is gone"):
        call_command("purge", stdout=io.StringIO())
    note = Purge.objects.get()
    assert (note.counts["rejected"], "exports" in note.counts) == (1, False)
    assert note.finished_at


def refuse(*_: Any, **__: Any) -> Any:
    raise OSError("the disk is gone")


def test_the_schedule_does_it_every_night() -> None:
    task = PeriodicTask.objects.get(task="letters.tasks.purge")
    assert (task.enabled, str(task.crontab.hour), task.queue) == (True, "4", "exports")
    policy(rejected=30)
    of_age(a_drawing("Z", state="rejected"), state_days=31)
    tasks.purge()
    assert not there()


def test_staff_see_what_was_purged_when(client: Client) -> None:
    policy(rejected=30)
    of_age(a_drawing("Z", state="rejected"), state_days=31)
    retention.purge()
    client.force_login(a_reviewer("mia", "maintainers"))
    page = client.get("/admin/letters/purge/").content.decode()
    assert "1 rejected drawings" in page
    assert client.get(f"/admin/letters/purge/{Purge.objects.get().pk}/change/").status_code == 200


def test_the_page_of_privacy_says_what_holds_here(client: Client, settings: Any) -> None:
    settings.PRIVACY_CONTACT, settings.BACKUP_DAYS = "Ada Lovelace, ada@example.org", 35
    policy(rejected=77, exports=55, pending=0, log=44)
    page = client.get("/privacy").content.decode()
    for words in ("77 days after the decision", "55 days here", "35 days", "44 days", "Ada Lovelace, ada@example.org"):
        assert words in page
    assert "if nobody looks at it" not in page
    policy(rejected=0, pending=66, drawings=1000, exports=0)
    page = client.get("/privacy").content.decode()
    for words in ("66 days if nobody looks at it", "1,000 days after you gave it", "until one of the letters in it"):
        assert words in page
    assert "after the decision" not in page


def test_every_page_leads_there(client: Client) -> None:
    for path in ("/about", "/mine", "/privacy"):
        assert '<a href="/privacy"' in client.get(path).content.decode()


def test_an_upgraded_site_goes_on_keeping_everything() -> None:
    """Whoever runs it decides: the purge that comes with a release deletes nothing that was there before."""
    from importlib import import_module

    from django.apps import apps

    migration = import_module("letters.migrations.0010_retention")
    policy(rejected=365, exports=90, models=180, log=365)
    migration.keep_what_there_is(apps, None)
    assert Policy.objects.get().rejected_days == 365  # nothing was there
    a_drawing("Z")
    migration.keep_what_there_is(apps, None)
    assert {name: getattr(Policy.objects.get(), name) for name in NEVER} == NEVER


def test_a_model_that_serves_is_never_discarded_whatever_is_asked() -> None:
    policy(models=1)
    serves = a_trained(99)
    Serving.objects.create(model=serves)
    assert not registry.discard(serves)
    assert counted(retention.purge()) == {}
    assert default_storage.exists(f"models/{serves.digest}/manifest.json")
