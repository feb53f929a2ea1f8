"""The data sheet of an export, after Gebru et al., "Datasheets for Datasets" (arXiv:1803.09010): what it holds, how it
came to be, what its contributors agreed to, how far its labels can be trusted, and what may be done with it."""

from __future__ import annotations

import statistics
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any, Protocol

from django.conf import settings
from django.utils import timezone

from letters import consent
from letters.models import Decision, Drawing, Import, ModelVersion
from ml.labels import CLASSES

READ_AT_ONCE = 2_000  # decisions


class _Row(Protocol):
    """What is counted of a drawing."""

    @property
    def label(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def contributor(self) -> str: ...
    @property
    def held_out(self) -> bool: ...
    @property
    def preprocess(self) -> str: ...
    @property
    def predicted(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def consent(self) -> str: ...
    @property
    def collection(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...


class Tally:
    """Counts drawings as they go into a file; what grows is one number a contributor."""

    def __init__(self) -> None:
        self.drawings = 0
        self.first: datetime | None = None
        self.last: datetime | None = None
        self.cells: Counter[tuple[str, str, bool]] = Counter()  # label, state, held out
        self.contributors: Counter[tuple[str, bool]] = Counter()
        self.sources: Counter[str] = Counter()
        self.recipes: Counter[str] = Counter()
        self.wordings: Counter[str] = Counter()
        self.collections: Counter[str] = Counter()
        self.read: Counter[str] = Counter()  # by model
        self.read_right: Counter[str] = Counter()

    def add(self, row: _Row) -> None:
        """Count one."""
        self.drawings += 1
        self.first = min(self.first or row.created_at, row.created_at)
        self.last = max(self.last or row.created_at, row.created_at)
        self.cells[row.label, row.state, row.held_out] += 1
        self.contributors[row.contributor, row.held_out] += 1
        self.sources[row.source] += 1
        self.recipes[row.preprocess] += 1
        self.wordings[row.consent] += 1
        self.read[row.model] += 1
        self.read_right[row.model] += row.predicted == row.label
        if row.collection:
            self.collections[row.collection] += 1

    @property
    def held_out(self) -> int:
        """Drawings of contributors that are held out."""
        return sum(count for (_, _, held_out), count in self.cells.items() if held_out)


# --- What the reviewers made of it ---------------------------------------------------------------------------------


@dataclass
class Reviews:
    """What became of the drawings that somebody reviewed, by their last decision that stands."""

    confirmed: int = 0
    relabelled: int = 0
    rejected: Counter[str] = field(default_factory=Counter)  # by reason
    twice: int = 0  # drawings that two different reviewers decided about
    agreed: int = 0  # of these, with the same result

    @property
    def drawings(self) -> int:
        return self.confirmed + self.relabelled + sum(self.rejected.values())

    def add(self, decisions: list[_Decision]) -> None:
        """Count a drawing by all of its decisions that stand, oldest first."""
        last = decisions[-1]
        if last.action == Decision.Action.REJECT:
            self.rejected[last.reason] += 1
        elif last.action == Decision.Action.RELABEL:
            self.relabelled += 1
        else:
            self.confirmed += 1
        first = decisions[0]
        second = next((each for each in decisions if each.actor != first.actor), None)
        if second is not None:
            self.twice += 1
            self.agreed += first.result == second.result


@dataclass(frozen=True, slots=True)
class _Decision:
    drawing: uuid.UUID
    actor: str
    action: str
    reason: str
    result: tuple[str, str]


def reviews() -> Reviews:
    """Of all drawings that may go out, rejected ones too; read row by row."""
    found = Reviews()
    for _, decisions in groupby(_standing_decisions(), key=lambda decision: decision.drawing):
        found.add(list(decisions))
    return found


def _standing_decisions() -> Iterator[_Decision]:
    standing = (
        Decision.objects.filter(undone_by__isnull=True, drawing__consent__in=consent.PUBLISHABLE)
        .exclude(action=Decision.Action.UNDO)
        .order_by("drawing_id", "created_at", "id")
        .values_list("drawing_id", "actor", "action", "reason", "new_state", "new_character")
    )
    for drawing, actor, action, reason, state, character in standing.iterator(READ_AT_ONCE):
        result = (state, "" if state == Drawing.State.REJECTED else character)
        yield _Decision(drawing, actor, action, reason, result)


# --- The sheet -----------------------------------------------------------------------------------------------------


def text(tally: Tally, *, format: str, selection: str, withheld: int, members: Mapping[str, str]) -> str:
    """The sheet of an export, as Markdown."""
    parts = [
        _head(tally, format, selection),
        _MOTIVATION,
        _composition(tally),
        _collection(tally, withheld),
        _preprocessing(tally),
        _labelling(reviews()),
        _predictions(tally),
        _USES,
        _distribution(),
        _MAINTENANCE,
        _files(members),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _head(tally: Tally, format: str, selection: str) -> str:
    what = {
        "approved": "drawings that a reviewer approved",
        "reviewed": "drawings that were reviewed, approved or rejected: `state` tells which",
        "all": "all drawings, also those that nobody has reviewed yet: `state` tells which",
    }
    return f"""
# Letterloop: letters that people drew

{_count(tally.drawings, "drawing")} of {_count(len(tally.contributors), "contributor")}, exported
{_minute(timezone.now())} as {format}: {what[selection]}. This sheet follows Gebru et al., "Datasheets for
Datasets", arXiv:1803.09010."""


_MOTIVATION = """
## Motivation

Letters drawn on screens with a pen, a finger or a mouse, each under the letter that its contributor said it is. They
were collected so that a model trained on EMNIST, which are letters from paper forms, learns to read letters from
screens, and so that it can be judged on the hands of people it has not met."""


def _composition(tally: Tally) -> str:
    sizes = sorted(tally.contributors.values())
    held_out = [size for (_, held_out), size in tally.contributors.items() if held_out]
    states = [state for state in Drawing.State.values if any(cell[1] == state for cell in tally.cells)]
    by_class = [
        [label, *(_sum(tally, label, state) for state in states), _sum_held_out(tally, label)] for label in CLASSES
    ]
    total = ["all", *(_sum(tally, None, state) for state in states), tally.held_out]
    sources = ", ".join(f"{count:,} {Drawing.Source(source).label}" for source, count in sorted(tally.sources.items()))
    return f"""
## Composition

An instance is one drawing of one letter: its strokes (points with x, y and, where the device told them, time and
pressure), the 28x28 image made of them, the letter, and what the model of that time read. An imported picture has
no strokes. By source: {sources}. Labels are 37 classes: `A` to `Z`, and `a b d e f g h n q r t`; C I J K L M O P S
U V W X Y Z stand for both cases, and `word` says which letter it was.

Period: {_minute(tally.first)} to {_minute(tally.last)}.

Contributors are known by random names that were made for this export and are not kept; nothing else is known of them.
Drawings of a contributor: {sizes[0]:,} to {sizes[-1]:,}, median {statistics.median(sizes):g}, mean
{statistics.mean(sizes):.1f}; the largest part of one contributor is {_share(sizes[-1], tally.drawings)}.

Held out: {_count(len(held_out), "contributor")} with {_count(sum(held_out), "drawing")} (`held_out`) are set apart,
by chance and for good, to judge models. Do not train on them. In idx they are the part `test`.

{_table(["class", *states, "of these held out"], [*by_class, total])}"""


def _collection(tally: Tally, withheld: int) -> str:
    wordings = [
        [f"`{version}`", tally.wordings[version], f"“{consent.words_of(version)}”"]
        for version in sorted(tally.wordings)
        if version != consent.IMPORTED
    ]
    return f"""
## Collection

Visitors of a web page drew a letter; the model said what it read; they confirmed or corrected it. A drawing was
kept only if its contributor had ticked the box beside these words, which is never ticked beforehand:

{_table(["consent", "drawings", "words"], wordings) if wordings else "(no drawing of this export was drawn there)"}

{_imports(tally)}Nobody was paid. No name, e-mail address or network address was kept with a drawing.
{_count(withheld, "drawing")} of this selection stayed behind, because the words that their contributors agreed to
did not speak of publishing. Drawings that their contributors withdrew are not here."""


def _imports(tally: Tally) -> str:
    if not tally.collections:
        return ""
    words = dict(Import.objects.filter(name__in=tally.collections).values_list("name", "consent"))
    lines = [[name, count, f"“{words.get(name, '')}”"] for name, count in sorted(tally.collections.items())]
    table = _table(["collection", "drawings", "what its contributors agreed to"], lines)
    return f"Collections that were brought in (consent `{consent.IMPORTED}`):\n\n{table}\n\n"


def _preprocessing(tally: Tally) -> str:
    recipes = ", ".join(f"{name} ({count:,})" for name, count in sorted(tally.recipes.items()))
    return f"""
## Preprocessing

Strokes are as they came. The image, white on black, is made of them by the recipe of the EMNIST paper: centre line,
pen of a fixed share of the letter, centred, smoothed, reduced to 28x28, stretched to 0..255. Versions of the
recipe: {recipes}."""


def _labelling(found: Reviews) -> str:
    reasons = [
        [f"rejected: {Decision.Reason(reason).label}", count, _share(count, found.drawings)]
        for reason, count in found.rejected.most_common()
    ]
    outcomes = [
        ["confirmed", found.confirmed, _share(found.confirmed, found.drawings)],
        ["relabelled", found.relabelled, _share(found.relabelled, found.drawings)],
        *reasons,
    ]
    agreement = (
        f"Of the {_count(found.twice, 'drawing')} that two different reviewers decided about, "
        f"{found.agreed:,} ({_share(found.agreed, found.twice)}) had the same result both times."
        if found.twice
        else "No drawing was decided about by two different reviewers, so how far they agree is not known."
    )
    return f"""
## Labels and their review

The contributor gave the label (`character`); a reviewer confirmed, changed or rejected it (`word` and `label` are as
reviewed). Of all {_count(found.drawings, "drawing")} with a reviewer's decision that may be published, rejected
ones too:

{_table(["decision", "drawings", "share"], outcomes)}

{agreement}"""


def _predictions(tally: Tally) -> str:
    numbers = dict(ModelVersion.objects.filter(digest__in=tally.read).values_list("digest", "number"))
    lines = [
        [numbers.get(digest, "?"), f"`{digest[:12]}`", count, _share(tally.read_right[digest], count)]
        for digest, count in sorted(tally.read.items(), key=lambda each: numbers.get(each[0], 0))
    ]
    return f"""
## Predictions at the time

What the model that served read as each letter was drawn (`predicted`, `probability`), against the label as reviewed.
People saw the reading before they confirmed it, so this is no fair comparison of models.

{_table(["model", "digest", "drawings", "read right"], lines)}"""


_USES = """
## Uses

Made for reading single handwritten letters, for judging such models, and for studying how people write on screens.
Not made for finding out who wrote a letter: do not try. Contributors chose themselves, what they drew is not a
sample of any population, and letters that the model misreads may be drawn more often than they are written."""


def _distribution() -> str:
    return f"""
## Distribution

Licence: {settings.DATA_LICENCE}.

The model that read the drawings was first trained on EMNIST; work that uses both cites it:

> G. Cohen, S. Afshar, J. Tapson, A. van Schaik: "EMNIST: an extension of MNIST to handwritten letters", 2017,
> arXiv:1702.05373."""


_MAINTENANCE = """
## Maintenance

A contributor can withdraw a drawing at any time. It is then deleted where it was collected, and no file with it is
handed out there any more. Whoever publishes this data set should replace it by a new export now and then: a
`key_id` that is missing there was withdrawn or is no longer approved, and is to be deleted from copies too."""


def _files(members: Mapping[str, str]) -> str:
    return f"""
## Files

{_table(["file", "SHA-256"], [[f"`{name}`", f"`{digest}`"] for name, digest in members.items()])}"""


def _table(head: list[str], lines: list[list[Any]]) -> str:
    cells = [[f"{each:,}" if isinstance(each, int) else _cell(str(each)) for each in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *cells])


def _cell(words: str) -> str:
    return " ".join(words.replace("|", "\\|").split())


def _sum(tally: Tally, label: str | None, state: str) -> int:
    return sum(n for (its, of, _), n in tally.cells.items() if of == state and label in (None, its))


def _sum_held_out(tally: Tally, label: str) -> int:
    return sum(n for (its, _, held_out), n in tally.cells.items() if held_out and its == label)


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _minute(when: datetime | None) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC" if when else "–"
