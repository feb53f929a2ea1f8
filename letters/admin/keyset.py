"""Lists of very many rows: page after page from where the last one ended, without counting what there is.

A page that is found by its number has the database read all pages before it, and one that says how many rows match has
it read them all.
"""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from django.db.models.expressions import Combinable
from django.http import HttpRequest, HttpResponse

from letters.admin.base import ReadOnlyAdmin

NEWEST_FIRST = ("-created_at", "-id")
OLDEST_FIRST = ("created_at", "id")
PLACE = re.compile(r"(older|newer)\.(\d{1,16})\.([0-9a-f-]{1,36})", re.ASCII)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HEX = re.compile("[0-9a-f]{4,32}", re.ASCII)


class KeysetChangeList(ChangeList):
    """One page of rows, the newest first, and the ways to the pages before and after it."""

    is_keyset = True
    newest_url = newer_url = older_url = ""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str | Combinable]:
        """The one order that there is."""
        return list(NEWEST_FIRST)

    def get_results(self, request: HttpRequest) -> None:
        """The rows of the page that `p` names: those older, or newer, than one that was seen."""
        way, after = _place(request.GET.get(PAGE_VAR, ""), self.model)
        rows = self._newer(after) if way == "newer" else []
        is_first = len(rows) <= self.list_per_page and way != "older"
        if is_first:
            rows = list(self.queryset[: self.list_per_page + 1])
        elif way == "older":
            rows = list(self.queryset.filter(after)[: self.list_per_page + 1])
        more = len(rows) > self.list_per_page
        if way == "newer" and not is_first:
            rows = rows[-self.list_per_page :]
            more = True
        rows = rows[: self.list_per_page]
        if not is_first:
            self.newest_url = self.get_query_string()
            self.newer_url = self._url("newer", rows[0]) if rows else ""
        if more:
            self.older_url = self._url("older", rows[-1])
        self.result_list, self.result_count, self.full_result_count = rows, len(rows), None
        self.show_full_result_count = self.can_show_all = self.multi_page = False
        self.show_admin_actions = True

    def _newer(self, after: Q) -> list[Any]:
        rows = list(self.queryset.order_by(*OLDEST_FIRST).filter(after)[: self.list_per_page + 1])
        return rows[::-1]

    def _url(self, way: str, row: Any) -> str:
        microseconds = (row.created_at - EPOCH) // timedelta(microseconds=1)
        return str(self.get_query_string({PAGE_VAR: f"{way}.{microseconds}.{row.pk}"}))


def _place(asked: str, model: type[Model]) -> tuple[str, Q]:
    """Which way a page lies from which row, as a condition; the first page where nothing sensible is asked for."""
    found = PLACE.fullmatch(asked)
    if found is None:
        return "", Q()
    way, microseconds, key = found.groups()
    try:
        pk = model._meta.pk.to_python(key)
    except ValidationError:
        return "", Q()
    moment = EPOCH + timedelta(microseconds=int(microseconds))
    than = "lt" if way == "older" else "gt"
    # the first condition is for the index, which the second alone would not be searched by
    return way, Q(**{f"created_at__{than}e": moment}) & (
        Q(**{f"created_at__{than}": moment}) | Q(**{f"pk__{than}": pk})
    )


class KeysetAdmin(ReadOnlyAdmin):
    """A list of very many rows; a subclass says by which fields its rows are found."""

    ordering = NEWEST_FIRST
    sortable_by = ()
    list_per_page = 50
    show_full_result_count = False

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        return KeysetChangeList

    def found_by(self, words: str) -> Q:
        """The rows that somebody looks for, by what indices find."""
        raise NotImplementedError

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        words = search_term.strip()
        return (queryset.filter(self.found_by(words)) if words else queryset), False

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any], *where: Any) -> HttpResponse | None:
        """An action is about the rows that were seen, never about a million that match."""
        form = request.POST.copy()
        form["select_across"] = "0"
        request.POST = form  # type: ignore[assignment] # the stubs want one that nobody can change
        return super().response_action(request, queryset, *where)


def begins(field: str, words: str) -> Q:
    """Rows whose UUID in a field begins with these words; none where these are no part of one."""
    digits = words.lower().replace("-", "")
    if not HEX.fullmatch(digits):
        return Q(pk__in=())
    first, last = (uuid.UUID(digits.ljust(32, filler)) for filler in "0f")
    return Q(**{f"{field}__gte": first, f"{field}__lte": last})
