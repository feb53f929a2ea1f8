"""Training images of EMNIST whose label is probably wrong, by what networks that never saw them read in them.

    python -m ml.crossfit --output var/crossfit.npz          first: an hour or more
    python -m ml.label_issues var/crossfit.npz               how many, of which classes, the first of them
    ... --output var/issues.csv                              all of them, ranked; .json for JSON
    ... --figures var/issues                                 as sheets of a hundred images; not to be published
    ... --without I/L,F/f,g/q                                leave alone pairs that no image tells apart
    ... --exclude var/excluded.npz                           for `python -m ml.train --exclude`

The finding is cleanlab's: confident learning, Northcutt et al., arXiv:1911.00068. See docs/evaluation.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml import crossfit, emnist
from ml.labels import CLASS_COUNT, CLASSES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 20  # rows that are printed
COMMONEST = 12  # pairs that are printed
COLUMNS, PER_PAGE = 10, 100

Labels = npt.NDArray[np.integer[Any]]
Probabilities = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Issue:
    """A training image whose label is doubted. The first has the lowest score.

    `position`: in the archive's order. `score`, 0 to 1: half of one more than the label's probability less that of the
    likeliest other class. `fold`: see ml.crossfit.
    """

    position: int
    label: str
    likely: str
    label_probability: float
    likely_probability: float
    score: float
    fold: int

    @property
    def pair(self) -> str:
        """The label, and what it probably should be."""
        return f"{self.label} -> {self.likely}"


def find(labels: Labels, found: crossfit.Crossfit) -> list[Issue]:
    """The doubted ones of the labels (N,), worst first.

    Doubted is what both of cleanlab's prunings doubt: as many images of each label as are counted to be of another
    class, those likeliest to be of that class, and those least likely to be of their label. Raises ValueError where
    cleanlab is not installed.
    """
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError as error:
        raise ValueError("cleanlab is not installed here: it is among requirements-dev.txt, see `make env`") from error
    given = labels.astype(int)
    likelihood = weighted_by_count(found.probabilities, given)
    doubted = find_label_issues(given, likelihood, filter_by="both", n_jobs=1)
    scores = get_label_quality_scores(given, likelihood, method="normalized_margin")
    positions = np.flatnonzero(doubted)
    ranked = positions[np.argsort(scores[positions], kind="stable")]
    others = likelihood.copy()
    others[np.arange(len(given)), given] = -1
    likely = others.argmax(axis=1)
    return [
        Issue(
            position=int(at),
            label=CLASSES[given[at]],
            likely=CLASSES[likely[at]],
            label_probability=float(likelihood[at, given[at]]),
            likely_probability=float(likelihood[at, likely[at]]),
            score=float(scores[at]),
            fold=int(found.folds[at]),
        )
        for at in ranked
    ]


def weighted_by_count(probabilities: Probabilities, labels: Labels) -> npt.NDArray[np.float64]:
    """Probabilities (N, 37) that hold all classes for equally common, as these labels (N,) have them; rows sum to 1.

    Without it two of five F were held for an f, of which there are a quarter as many.
    """
    weighted = probabilities.astype(float) * np.bincount(labels, minlength=CLASS_COUNT)
    rows: npt.NDArray[np.float64] = weighted / weighted.sum(axis=1, keepdims=True)
    return rows


def without_pairs(issues: Sequence[Issue], pairs: Sequence[frozenset[str]]) -> list[Issue]:
    """Those that are not between the two classes of one of these pairs."""
    return [issue for issue in issues if frozenset((issue.label, issue.likely)) not in pairs]


def parse_pairs(text: str) -> list[frozenset[str]]:
    """`I/L,F/f` as pairs of classes. Raises ValueError."""
    pairs = [frozenset(part.split("/")) for part in filter(None, text.split(","))]
    if any(len(pair) != 2 or not pair <= set(CLASSES) for pair in pairs):
        raise ValueError(f"{text!r} is no list of pairs of classes, such as I/L,F/f")
    return pairs


def summary(issues: Sequence[Issue], count: int) -> Iterator[str]:
    """Lines for people: how many of `count` labels are doubted, of which classes, for which; and the first."""
    yield f"{len(issues)} of {count} labels are doubted ({len(issues) / count:.2%})"
    if not issues:
        return
    yield "by label: " + _counted(Counter(issue.label for issue in issues).most_common())
    yield "by label and likely class: " + _counted(Counter(issue.pair for issue in issues).most_common(COMMONEST))
    yield ""
    yield "rank  position  label  likely  probability of the label  and of the likely class"
    for rank, issue in enumerate(issues[:SHOWN], start=1):
        yield (
            f"{rank:>4}  {issue.position:>8}  {issue.label:>5}  {issue.likely:>6}"
            f"  {issue.label_probability:>24.4f}  {issue.likely_probability:>23.4f}"
        )


def _counted(counts: list[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts)


def write_list(path: Path, issues: Sequence[Issue], about: dict[str, Any]) -> None:
    """All of them, ranked: as JSON with what they were found by where the name ends in .json, else as CSV."""
    if path.suffix == ".json":
        path.write_text(json.dumps(about | {"issues": [asdict(issue) for issue in issues]}, indent=1) + "\n")
        return
    with path.open("w", newline="", encoding="utf-8") as opened:
        table = csv.DictWriter(opened, [each.name for each in fields(Issue)])
        table.writeheader()
        table.writerows(asdict(issue) for issue in issues)


def write_excluded(path: Path, issues: Sequence[Issue], archive_sha256: str) -> None:
    """Their positions, `excluded` (K,) in the archive's order, and the archive that they are good for."""
    positions = np.array(sorted(issue.position for issue in issues), np.int64)
    with path.open("wb") as opened:  # by a name alone NumPy would add .npz to it
        np.savez_compressed(opened, excluded=positions, archive_sha256=np.array(archive_sha256))


def write_sheets(folder: Path, issues: Sequence[Issue], images: npt.NDArray[np.uint8], pages: int) -> list[Path]:
    """At most so many sheets of a hundred images (N, 28, 28) uint8 of the dataset; their paths."""
    from ml.figures import write_png

    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(issues), PER_PAGE)[:pages]
    return [
        write_png(
            sheet(issues[start : start + PER_PAGE], images, first=start + 1, total=len(issues)),
            folder / f"issues-{number:03}.png",
        )
        for number, start in enumerate(starts, start=1)
    ]


def sheet(issues: Sequence[Issue], images: npt.NDArray[np.uint8], *, first: int, total: int) -> Figure:
    """The images of some issues, from the number `first` of `total` on, each with what it is given and likely is."""
    from ml.letter_sheet import Caption, letter_sheet

    return letter_sheet(
        images[[issue.position for issue in issues]],
        [Caption(f"{issue.label} → {issue.likely}\n{issue.position}") for issue in issues],
        columns=COLUMNS,
        lines=2,
        title="Labels that are probably wrong",
        subtitle=f"{first} to {first + len(issues) - 1} of {total}: the label → what is likely, and the position",
    )


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ml.label_issues", description="Find wrong labels in EMNIST.")
    parser.add_argument("crossfit", type=Path, help="a file of ml.crossfit")
    parser.add_argument("--dataset", default="open37", help="that it was made of; default open37")
    parser.add_argument(
        "--without", type=parse_pairs, default=[], metavar="PAIRS", help="pairs to leave alone: I/L,F/f"
    )
    parser.add_argument("--limit", type=int, help="only so many, the worst")
    parser.add_argument("--output", type=Path, help="all of them as CSV, or as JSON where the name ends in .json")
    parser.add_argument("--exclude", type=Path, metavar="FILE", help="an .npz of positions that ml.train leaves out")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="a folder for sheets of their images")
    parser.add_argument("--pages", type=int, default=10, help="sheets at most; default 10")
    return parser.parse_args(arguments)


def _run(parsed: argparse.Namespace) -> None:
    letters = emnist.load_letters(parsed.dataset, "train")
    found = crossfit.load(parsed.crossfit, len(letters))
    issues = without_pairs(find(letters.labels, found), parsed.without)[: parsed.limit]
    archive = emnist.sha256_of(emnist.archive_path())
    if parsed.output:
        write_list(
            parsed.output, issues, {"dataset": parsed.dataset, "archive_sha256": archive, "crossfit": found.about}
        )
    if parsed.exclude:
        write_excluded(parsed.exclude, issues, archive)
    if parsed.figures:
        for path in write_sheets(parsed.figures, issues, letters.images, parsed.pages):
            print(path, file=sys.stderr)
    print("\n".join(summary(issues, len(letters))))


def main(arguments: list[str] | None = None) -> int:
    """Print what was found; 1 where the archive or the probabilities cannot be read."""
    parsed = _parse(arguments)
    try:
        _run(parsed)
    except (ValueError, OSError, emnist.ArchiveError) as error:
        print(f"python -m ml.label_issues: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
