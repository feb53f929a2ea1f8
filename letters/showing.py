"""What the public is shown of the collected letters: those that were approved, of contributors who are not muted."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q, QuerySet

from letters.models import Contributor, Drawing


def public_where(drawing: str = "") -> Q:
    """The condition; `drawing` is the way from a row to its drawing, such as `drawing__`."""
    # looked up among the few who are muted, not by joining all who are not
    muted = Contributor.objects.filter(pk=OuterRef(f"{drawing}contributor"), muted_at__isnull=False)
    return Q(~Exists(muted), **{f"{drawing}state": Drawing.State.APPROVED})


def public() -> QuerySet[Drawing]:
    """The letters that anybody may see."""
    return Drawing.objects.filter(public_where())
