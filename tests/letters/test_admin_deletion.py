"""What staff delete in the admin goes as it would for the contributor: nothing derived from it is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from letters import influence
from letters.models import Contributor, Drawing, LetterMap, TrainingRun, Withdrawal
from tests.letters.collected import a_drawing, somebody
from tests.letters.test_privacy_deletion import an_export, with_all_that_is_made_of_one

pytestmark = [
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
    pytest.mark.usefixtures("storage"),
]

DRAWINGS, CONTRIBUTORS = "/admin/letters/drawing/", "/admin/letters/contributor/"
Way = Callable[[Client, Drawing], Any]


def one(client: Client, address: str, pk: object) -> Any:
    return client.post(f"{address}{pk}/delete/", {"post": "yes"})


def selected(client: Client, address: str, pk: object) -> Any:
    return client.post(address, {"post": "yes", "action": "delete_selected", "_selected_action": str(pk)})


WAYS: dict[str, Way] = {
    "a drawing": lambda client, it: one(client, DRAWINGS, it.pk),
    "drawings that were selected": lambda client, it: selected(client, DRAWINGS, it.pk),
    "a contributor": lambda client, it: one(client, CONTRIBUTORS, it.contributor_id),
    "contributors who were selected": lambda client, it: selected(client, CONTRIBUTORS, it.contributor_id),
}


@pytest.mark.parametrize("way", WAYS)
def test_it_works(client: Client, storage: Path, way: str) -> None:
    """Models that learned from it are marked, no export with it is handed out, figures with it are drawn anew."""
    client.force_login(User.objects.create_superuser("ada"))
    drawing, other = with_all_that_is_made_of_one(a_drawing("Z")), a_drawing("X", contributor=somebody())
    held, now = an_export(), timezone.now()
    TrainingRun.objects.create(
        kind="head",
        trigger="button",
        requested_by="ada",
        state="done",
        candidate=drawing.model,
        started_at=now,
        finished_at=now,
        drawing_ids=drawing.pk.bytes,
    )
    assert WAYS[way](client, drawing).status_code == 302
    assert list(Drawing.objects.all()) == [other]
    assert Contributor.objects.filter(pk=drawing.contributor_id).exists() is ("drawing" in way)
    assert list(Withdrawal.objects.values_list("pk", flat=True)) == [drawing.pk]
    assert influence.withdrawn_from(drawing.model) == 1
    held.refresh_from_db()
    assert (held.can_be_had, held.stored) == (False, "")
    on = LetterMap.objects.get()
    assert (on.files, on.finished_at, on.points.count()) == ({}, None, 0)
    assert [each.name for each in storage.rglob("*") if each.is_file()] == []
