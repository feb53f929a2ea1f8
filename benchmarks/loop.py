"""What a site learns from the people who draw on it: collect from some writers, judge on others.

    python -m benchmarks.loop --collect FILE --judge FILE [--full] [--steps 52,260,520]

FILE holds JSON lines of {"character", "writer", "strokes"}. A fresh site is started, with its own Redis, database and
files. The writers of the first file come as visitors: they draw, see what is read, say what it is, consent. A reviewer
approves all of it; then the model is retrained through the site's queue, judged by its gate, and promoted if it passed.
The letters of the second file are never sent: the models are asked about them afterwards, from strokes to class.

No contributor is held out here (HOLDOUT_SHARE=0): the second file judges, and the gate has EMNIST alone to go by.
`full` starts from the shipped model again, so that the two kinds can be compared, and needs EMNIST_ARCHIVE.

The last line is one JSON object: accuracies 0 to 1 on 37 classes, times in seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks import machine
from benchmarks.people import Letter, Maintainer, Visitor, by_writer, read_letters
from ml.artifact import read_json
from ml.evaluate import accuracy
from ml.exams import predict_all
from ml.predictor import Predictor
from tests.running import ROOT, Site, running_site, wait_for

HEAD_TIMEOUT = 300.0  # seconds
FULL_TIMEOUT = 6 * 3600.0


class Judge:
    """Letters that no model of the site is trained on."""

    def __init__(self, letters: list[Letter]) -> None:
        self.images = [letter.image for letter in letters]
        self.labels = np.array([letter.label for letter in letters])

    def accuracy(self, folder: Path) -> float:
        """The share that the model in a folder reads right."""
        return accuracy(predict_all(Predictor(folder), self.images), self.labels)


class Loop:
    """A site, who works at it, and what was measured."""

    def __init__(self, site: Site, judge: Judge) -> None:
        self.site = site
        self.judge = judge
        self.maintainer = Maintainer(site)
        self.shipped = self._serving()["version"]
        self.visitors: dict[str, Visitor] = {}

    def _serving(self) -> dict[str, Any]:
        serving: dict[str, Any] = self.maintainer.api("GET", "models/current")
        return serving

    def folder(self, number: int) -> Path:
        """The artefact of a version, as it lies in the site's storage."""
        digest = self.site.rows("SELECT digest FROM letters_modelversion WHERE number = %s", number)[0]["digest"]
        return self.site.folder / "media" / "models" / str(digest)

    def measure(self, number: int) -> tuple[float, float]:
        """Accuracy of a version on the letters that judge, and on the test images of EMNIST."""
        folder = self.folder(number)
        return self.judge.accuracy(folder), float(read_json(folder, "metrics.json")["test"]["accuracy"])

    def collect(self, letters: list[Letter]) -> None:
        """Every writer sends what he drew; then a reviewer approves all of it."""
        given = []
        for writer, drawn in tqdm(by_writer(letters).items(), "writers", file=sys.stderr):
            visitor = self.visitors.setdefault(writer, Visitor(self.site))
            given += [visitor.give(letter) for letter in drawn]
        self.maintainer.approve(given)

    def retrain(self, kind: str, timeout: float, **config: Any) -> dict[str, Any]:
        """One retraining from the model that serves; the run, with what its candidate reads right."""
        run = self.maintainer.retrain(kind, timeout, **config)
        if run["state"] != "done":
            raise SystemExit(f"the {kind} retraining {run['state']}: {run['message']}\n{self.site.logs()}")
        judged, emnist = self.measure(run["candidate"]["version"])
        say(f"{kind}: {run['outcome']}, {judged:.2%} of the letters that judge, {emnist:.2%} of EMNIST's.")
        say(run["message"])
        return run | {"judge": judged, "emnist": emnist}

    def go_back(self) -> None:
        """Let the shipped model serve again."""
        if self._serving()["version"] != self.shipped:
            self.maintainer.promote(self.shipped, "to compare the two kinds of retraining")
            wait_for(lambda: self._serving()["version"] == self.shipped, "the shipped model serves")


def say(words: str) -> None:
    """Progress, apart from the report."""
    print(f"  {words}", file=sys.stderr, flush=True)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    collected, judge = read_letters(arguments.collect), Judge(read_letters(arguments.judge))
    with running_site(own_redis=True, env={"HOLDOUT_SHARE": "0", "DRAWINGS_PER_DAY": "100000"}) as site:
        site.trainer.start()
        loop = Loop(site, judge)
        figures: dict[str, Any] = {"drawings": len(collected)}
        figures["judge_shipped"], figures["emnist_shipped"] = loop.measure(loop.shipped)
        curve, done = [], 0
        for upto in [*(each for each in arguments.steps if each < len(collected)), len(collected)]:
            loop.collect(collected[done:upto])
            done = upto
            head = loop.retrain("head", HEAD_TIMEOUT)
            curve.append({"drawings": upto, **{name: head[name] for name in ("judge", "emnist", "outcome", "seconds")}})
        figures |= {"judge_head": head["judge"], "emnist_head": head["emnist"], "head_seconds": head["seconds"]}
        figures |= {"verdict_head": head["outcome"], "curve": curve}
        if arguments.full:
            loop.go_back()
            full = loop.retrain("full", FULL_TIMEOUT)
            figures |= {"judge_full": full["judge"], "emnist_full": full["emnist"], "full_seconds": full["seconds"]}
            figures |= {"verdict_full": full["outcome"]}
    return figures


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loop", description=__doc__.partition("\n")[0])
    parser.add_argument("--collect", type=Path, required=True, help="letters that are sent, approved and learned from")
    parser.add_argument("--judge", type=Path, required=True, help="letters of others, which judge")
    parser.add_argument("--full", action="store_true", help="retrain the whole network too: minutes, and the archive")
    parser.add_argument(
        "--steps",
        type=lambda text: [int(part) for part in text.split(",")],
        default=[],
        help="retrain also after so many drawings, such as 52,260,520",
    )
    return parser.parse_args()


def main() -> None:
    """The command line."""
    arguments = _parse()
    say(machine.described())
    print(json.dumps(_rounded(measure(arguments))))


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
