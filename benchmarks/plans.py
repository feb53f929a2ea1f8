"""What the database does for a request: each query that is asked within a `with` block, and PostgreSQL's plan of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection

EXPLAINED = ("SELECT", "UPDATE", "DELETE")


@dataclass(frozen=True)
class Query:
    """A query and how it was answered; `plan` is what EXPLAIN says, run and timed where it only reads."""

    sql: str
    plan: dict[str, Any]

    @property
    def milliseconds(self) -> float:
        """What it took; 0 where it was not run for its plan."""
        return float(self.plan.get("Execution Time", 0.0))

    def nodes(self) -> Iterator[dict[str, Any]]:
        """The steps of its plan."""
        waiting = [self.plan["Plan"]]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += node.get("Plans", [])

    def read_whole(self) -> list[str]:
        """Tables that it reads from the first row to the last, which no `LIMIT` ends."""
        return [node["Relation Name"] for node in self.nodes() if node["Node Type"] == "Seq Scan"]

    def rows_read(self) -> int:
        """How many rows and index entries it looked at, those that it did not want included; 0 where it was not run."""
        looked = ("Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Heap Scan")
        return sum(
            int((node.get("Actual Rows", 0) + _thrown_away(node)) * node.get("Actual Loops", 0))
            for node in self.nodes()
            if node["Node Type"] in looked
        )


def _thrown_away(node: dict[str, Any]) -> float:
    names = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    return sum(float(node.get(name, 0)) for name in names)


@contextmanager
def explained() -> Iterator[list[Query]]:
    """The queries of the block, as they are asked. PostgreSQL alone."""
    found: list[Query] = []

    def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if not many and sql.lstrip().upper().startswith(EXPLAINED):
            found.append(Query(sql, _plan(sql, params)))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield found


def _plan(sql: str, params: Any) -> dict[str, Any]:
    reads = sql.lstrip().upper().startswith("SELECT") and "FOR UPDATE" not in sql and "FOR NO KEY" not in sql
    how = "ANALYZE, BUFFERS, FORMAT JSON" if reads else "FORMAT JSON"
    with connection.connection.cursor() as cursor:  # not Django's own: that would come here again
        cursor.execute(f"EXPLAIN ({how}) {sql}", params)
        (value,) = cursor.fetchone()
    plan: dict[str, Any] = (value if isinstance(value, list) else json.loads(value))[0]
    return plan
