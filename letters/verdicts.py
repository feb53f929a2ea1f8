"""A verdict of the gate as a page shows it: what each test said, its numbers, and a table of those of classes."""

from __future__ import annotations

from typing import Any

NAMES = {
    "accuracy": "How much is read right",
    "recall": "Each class by itself",
    "calibration": "How sure it is, and how right",
}
SETS = {"emnist": "on EMNIST", "collected": "on what held-out contributors drew"}


def tests_of(verdict: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The tests of a verdict, ready for a page."""
    return [_shown(test) for test in (verdict or {}).get("tests", [])]


def _shown(test: dict[str, Any]) -> dict[str, Any]:
    numbers = test.get("numbers", {})
    classes = numbers.get("classes") or []
    return {
        "name": NAMES.get(test["name"], test["name"]),
        "set": SETS.get(test["set"], test["set"]),
        "mark": {True: "pass", False: "fail"}.get(test["passed"], "open"),
        "says": {True: "pass", False: "fail"}.get(test["passed"], "too small to say"),
        "words": test["words"],
        "numbers": [(name.replace("_", " "), _number(value)) for name, value in numbers.items() if name != "classes"],
        "columns": [name.replace("_", " ") for name in classes[0]] if classes else [],
        "classes": [[_number(value) for value in row.values()] for row in classes],
    }


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
