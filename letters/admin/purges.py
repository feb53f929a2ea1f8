"""What was deleted because its time was over, when: in numbers."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from letters import retention
from letters.admin.base import ReadOnlyAdmin
from letters.models import Purge

WORDS = {kind.name: kind.words for kind in retention.KINDS}


@admin.register(Purge)
class PurgeAdmin(ReadOnlyAdmin):
    """A line a night."""

    list_display = ("created_at", "deleted", "finished", "message")
    fields = ("created_at", "finished_at", "deleted", "message")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="what was deleted")
    def deleted(self, purge: Purge) -> str:
        counted = [f"{count:,} {WORDS.get(name, name)}" for name, count in purge.counts.items() if count]
        return ", ".join(counted) or "nothing was due"

    @admin.display(boolean=True, description="finished")
    def finished(self, purge: Purge) -> bool:
        return purge.finished_at is not None
