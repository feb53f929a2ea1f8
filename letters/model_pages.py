"""The public pages of the models: the one that serves, each of the others, and two side by side."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from letters import emnist_images, influence, model_charts, model_facts, model_words
from letters.models import ModelVersion, TrainingRun
from letters.verdicts import tests_of
from ml.labels import CLASSES

CONFUSED = 12  # what is read as what, as a list
MOVED = 10  # mistakes of which a comparison names the change
CHANGES = 5  # of the serving model, before one asks for all
FIGURES = (
    ("accuracy", "right", "Of all letters, told apart in 37 classes"),
    ("folded_accuracy", "with case ignored", "A small letter read as its capital counts as right"),
    ("top2", "among the two likeliest", "The right class is its first or second guess"),
)


# --- Addresses -----------------------------------------------------------------------------------------------------


@require_safe
def serving(request: HttpRequest) -> HttpResponse:
    """The model that serves."""
    pk = model_facts.serving_pk()
    if pk is None:
        return render(request, "model/none.html")
    found = ModelVersion.objects.get(pk=pk)
    return render(request, "model/version.html", _page(request, found, found.pk, is_home=True))


@require_safe
def version(request: HttpRequest, number: int) -> HttpResponse:
    """One version, whether it serves or not."""
    found = _version(number)
    return render(request, "model/version.html", _page(request, found, model_facts.serving_pk(), is_home=False))


@require_safe
def comparison(request: HttpRequest) -> HttpResponse:
    """Two versions side by side: `a` and `b`, by number; without them the one that serves and the one before."""
    listed = model_facts.versions()
    if len(listed) < 2:
        return render(request, "model/compare_none.html", {"versions": listed})
    a, b = _chosen(request, listed)
    first, second = _version(a), _version(b)
    return render(request, "model/compare.html", _comparison(first, second, listed))


def _version(number: int) -> ModelVersion:
    found = ModelVersion.objects.filter(number=number).first()
    if found is None:
        raise Http404
    return found


def _chosen(request: HttpRequest, listed: list[model_facts.Version]) -> tuple[int, int]:
    serving = model_facts.serving_pk()
    newer = next((each.number for each in listed if each.pk == serving), listed[0].number)
    earlier = next((each.number for each in listed if each.number < newer), listed[0].number)
    return _number(request, "a", earlier), _number(request, "b", newer)


def _number(request: HttpRequest, name: str, otherwise: int) -> int:
    asked = request.GET.get(name, "")
    if not asked:
        return otherwise
    if not (asked.isascii() and asked.isdecimal()):
        raise Http404
    return int(asked)


# --- One version ---------------------------------------------------------------------------------------------------


def _page(request: HttpRequest, found: ModelVersion, serving: int | None, *, is_home: bool) -> dict[str, Any]:
    listed, changes = model_facts.versions(), model_facts.changes()
    own = next(each for each in listed if each.pk == found.pk)
    run = model_facts.run_of(found)
    metrics = model_facts.metrics_of(found)
    before, after = model_facts.neighbours(own, listed)
    return {
        "model": found,
        "is_home": is_home,
        "serves": found.pk == serving,
        "served": [each for each in changes if each.number == found.number],
        "changes": changes if is_home else [each for each in changes if found.number in (each.number, each.previous)],
        "changes_shown": CHANGES,
        "run": run,
        "tests": tests_of(run.verdict if run else None),
        "before": before,
        "after": after,
        "other": before or after,
        "versions": listed,
        "serving_pk": serving,
        "admin_url": _admin_url(request, found),
        "card": model_facts.card_of(found),
        "examples": model_facts.examples_of(found),
        "learned": _learned(found, own, listed, run, metrics),
        "curves": model_charts.curves(metrics.get("history") or []),
        "familiarity": metrics.get("familiarity"),
        **_figures(metrics),
    }


def _admin_url(request: HttpRequest, found: ModelVersion) -> str:
    """The version's page for staff who may see it."""
    if not (request.user.is_staff and request.user.has_perm("letters.view_modelversion")):
        return ""
    return reverse("admin:letters_modelversion_change", args=[found.pk])


def _figures(metrics: dict[str, Any]) -> dict[str, Any]:
    """What is drawn of one version's test."""
    test = metrics.get("test") or {}
    matrix = test.get("matrix")
    pairs = model_charts.confused(matrix) if matrix else _pairs_of(test)
    rows = _classes(test)
    known = test.get("calibration")
    return {
        "test": test,
        "completed": metrics.get("completed"),
        "figures": _shares(test),
        "rows": rows,
        "dots_begin": model_charts.dots_scale(rows),
        "matrix": model_charts.confusion(matrix) if matrix else None,
        "matrix_config": {"classes": CLASSES, "matrix": matrix},
        "pairs": pairs[:CONFUSED],
        "hardest": model_words.hardest(rows, pairs),
        "calibration": known,
        "calibration_words": model_words.calibration(known),
        "reliability": model_charts.reliability(known["bins"]) if known else None,
    }


def _shares(test: dict[str, Any], begin: float | None = None) -> list[dict[str, Any]]:
    """The three figures that sum a version up, each with its interval on one scale, that may be given to begin at."""
    intervals = test.get("intervals") or {}
    begin = begin or model_charts.interval_scale(list(intervals.values()))
    return [
        {
            "name": name,
            "words": words,
            "meaning": meaning,
            "share": test.get(name),
            "interval": model_words.interval(intervals.get(name)),
            "begin": begin,
            "bar": model_charts.interval_bar(test[name], intervals[name], begin) if name in intervals else None,
        }
        for name, words, meaning in FIGURES
    ]


def _classes(test: dict[str, Any]) -> list[dict[str, Any]]:
    """Each class: count, precision, recall, F1, and where its dots stand. An old artefact has the recall alone."""
    classes, recall = test.get("classes") or {}, test.get("recall") or {}
    unknown = {"count": None, "precision": None, "f1": None}
    rows = [
        {"label": label} | (classes.get(label) or unknown | {"recall": recall.get(label)})
        for label in CLASSES
        if label in classes or label in recall
    ]
    begin = model_charts.dots_scale(rows)
    for row in rows:
        row["dots"] = [model_charts.dot(row[name], begin) for name in ("precision", "recall")]
    return rows


def _pairs_of(test: dict[str, Any]) -> list[dict[str, Any]]:
    """The confusions of an artefact that has no matrix."""
    return [each | {"of": None, "share": None} for each in test.get("confusions") or []]


def _learned(
    found: ModelVersion,
    own: model_facts.Version,
    listed: list[model_facts.Version],
    run: TrainingRun | None,
    metrics: dict[str, Any],
) -> dict[str, Any]:
    """What a version was trained on."""
    pictures = emnist_images.made()
    dataset = metrics.get("dataset") or ""
    counts = pictures["classes"] if pictures and pictures["dataset"] == dataset else {}
    made = run.config.get("mode", "finetune") if run else ""
    return {
        "dataset": dataset,
        "emnist_total": sum(counts.values()),
        "emnist_least": min(counts.values(), default=0),
        "emnist_most": max(counts.values(), default=0),
        "validation": (metrics.get("validation") or {}).get("count"),
        "drawings": run.drawing_count if run else _drawings(found.config),
        "withdrawn": influence.withdrawn_from(found),
        "bars": model_charts.bars(run.counts) if run and run.counts else [],
        "how": run.kind if run and run.kind == TrainingRun.Kind.HEAD else made,
        "parents": model_facts.lineage(own, listed),
    }


def _drawings(config: dict[str, Any]) -> int:
    """How many collected drawings a version learned from that no run here made."""
    made_by: dict[str, Any] = config.get("head") or config.get("finetune") or {}
    return int(made_by.get("drawings", 0))


# --- Two versions --------------------------------------------------------------------------------------------------


def _comparison(first: ModelVersion, second: ModelVersion, listed: list[model_facts.Version]) -> dict[str, Any]:
    a, b = (model_facts.metrics_of(each).get("test") or {} for each in (first, second))
    found = model_facts.compare(first, second) if first.pk != second.pk else None
    errors = [(test.get("calibration") or {}).get("error") for test in (a, b)]
    begin = model_charts.interval_scale([each for test in (a, b) for each in (test.get("intervals") or {}).values()])
    shares = zip(*(_shares(test, begin) for test in (a, b)), strict=True)
    sides = [_figures({"test": test}) for test in (a, b)]
    return {
        "first": first,
        "second": second,
        "versions": listed,
        "sides": list(zip((first, second), sides, strict=True)),
        "figures": [_beside(*both) for both in shares],
        "begin": begin,
        "calibration": errors,
        "calibration_difference": _difference(*errors),
        "paired": found,
        "paired_words": model_words.paired(found, first.number, second.number) if found else [],
        "classes": _class_changes(sides[0]["rows"], sides[1]["rows"]),
        "moved": _moved(a.get("matrix"), b.get("matrix")),
    }


def _beside(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {"words": one["words"], "both": (one, other), "difference": _difference(one["share"], other["share"])}


def _difference(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else other - one


def _class_changes(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The recall of each class in both, and bars of the change, in percent of half the width."""
    pairs = [(one, other) for one, other in zip(before, after, strict=False) if one["label"] == other["label"]]
    known = [(a, b) for a, b in pairs if a["recall"] is not None and b["recall"] is not None]
    most = max((abs(b["recall"] - a["recall"]) for a, b in known), default=0) or 1
    return [
        {
            "label": a["label"],
            "first": a["recall"],
            "second": b["recall"],
            "change": b["recall"] - a["recall"],
            "bar": model_charts.change_bar(b["recall"] - a["recall"], most),
        }
        for a, b in known
    ]


def _moved(before: model_charts.Matrix | None, after: model_charts.Matrix | None) -> list[dict[str, Any]]:
    """The mistakes that became more or fewer, the largest change first."""
    if not before or not after:
        return []
    one, other = (
        {(each["label"], each["read_as"]): each["count"] for each in model_charts.confused(each)}
        for each in (before, after)
    )
    moved = [
        {
            "label": label,
            "read_as": read_as,
            "first": one.get((label, read_as), 0),
            "second": other.get((label, read_as), 0),
        }
        for label, read_as in {**one, **other}
    ]
    changed = [each | {"change": each["second"] - each["first"]} for each in moved if each["first"] != each["second"]]
    return sorted(changed, key=lambda each: -abs(each["change"]))[:MOVED]
