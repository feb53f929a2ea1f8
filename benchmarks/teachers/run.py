"""Train teachers, ask them about what they did not learn from, train students by that. For a GPU, within a time.

    python -m benchmarks.teachers.run DATA.npz OUT --seconds 400 --to POOL   teachers, what they read of many views
    python -m benchmarks.teachers.run DATA.npz OUT --seconds 240 --from POOL    students, taught by that
    ... --small                                                                 a few steps of everything

OUT gets, each as soon as it is known: `log.jsonl`, a line for each network and what the judges say of it;
`teachers.npz`, what the teachers together read in all images; `NAME.npz` for each student that is kept, its weights
in Keras' order and what it reads. Designs of students are compared on `dev`; those that are kept learn from `dev` too.
What is read of the test images and of drawings is written, never judged here. With neither `--to` nor `--from` one
run does both.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.teachers import learn, nets
from benchmarks.teachers.learn import Pool, Recipe, say
from benchmarks.teachers.views import Changes, views
from ml.labels import CLASS_COUNT, CLASSES, FOLDED

DEV, VALIDATION = -1, -2  # in the place of a fold's number, see benchmarks.teachers.data
PAIRS = ("Ff", "IL", "gq")
TEACHER_CHANGES = {
    "wide": Changes(elastic=0.5, redraw=0.6),
    "plain": Changes(rotation=0.25, shear=0.3, stretch=0.15, shift=2.0, elastic=0.7, redraw=0.6, cut_out=6.0),
    "mixed": Changes(rotation=0.2, shear=0.3, stretch=0.15, shift=2.0, elastic=0.6, redraw=0.8),
}
POOL_CHANGES = Changes(elastic=0.5, redraw=1.0)
FULL_VIEWS, CALM_VIEWS, CALM = 24, 8, 0.3


@dataclass(frozen=True)
class Student:
    """A design: which network learns, for how long, how far from teachers (None: from labels alone)."""

    network: str
    epochs: int
    weight: float | None
    dropout: float = 0.2
    rate: float = 3e-3
    averaged: bool = False  # taught by what was read in all views of an image together, not in the one seen


@dataclass(frozen=True)
class Sizes:
    """How large everything is."""

    width: int = 64
    teacher_batch: int = 512
    student_batch: int = 512
    most_epochs: int = 20
    least_epochs: int = 8
    full_views: int = FULL_VIEWS
    calm_views: int = CALM_VIEWS
    student_epochs: int = 48
    teachers_share: float = 0.55  # of the time
    pool_share: float = 0.66  # until then, with what teachers read
    trials_share: float = 0.85  # until then, with students that are compared


SMALL = Sizes(width=8, teacher_batch=32, student_batch=32, most_epochs=1, least_epochs=0, full_views=3, calm_views=1,
              student_epochs=2)  # fmt: skip


class Run:
    """What is known so far, and how much time is left."""

    def __init__(self, data: Path, out: Path, seconds: float, sizes: Sizes, names: list[str]) -> None:
        self.began, self.seconds, self.sizes, self.out, self.names = time.monotonic(), seconds, sizes, out, names
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        with np.load(data) as stored:
            self.labels, self.folds = stored["labels"], stored["folds"]
            self.images, self.test, self.drawn = (self._put(stored[name]) for name in ("images", "test", "drawn"))
        self.count = int(self.folds.max()) + 1
        name = torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu"
        self.machine = f"one {name}, PyTorch {torch.__version__}"
        self.teachers: list[tuple[str, int, torch.nn.Module]] = []
        self.took: dict[str, float] = {}
        self.trials: dict[str, np.ndarray] = {}
        out.mkdir(parents=True, exist_ok=True)

    def _put(self, array: np.ndarray) -> Any:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def left(self, share: float = 1.0) -> float:
        """Seconds until that share of the time is over."""
        return self.seconds * share - (time.monotonic() - self.began)

    def log(self, **what: Any) -> None:
        """A line of the log."""
        what = {"at": round(time.monotonic() - self.began, 1), **what}
        with (self.out / "log.jsonl").open("a") as lines:
            lines.write(json.dumps(what) + "\n")
        say(json.dumps(what))

    # Teachers

    def teach(self) -> None:
        """One network of each design for each fold, and once more of each while there is time for it."""
        names = list(self.names)
        speed = {name: self._seconds_an_epoch(name) for name in names}
        self.log(stage="speed", seconds_an_epoch=speed)
        budget = self.left(self.sizes.teachers_share) * 0.95
        while len(names) > 1 and budget / self._a_round(names, speed) < self.sizes.least_epochs:
            names.remove(max(names, key=lambda name: speed[name]))
        epochs = int(np.clip(budget / self._a_round(names, speed), 1, self.sizes.most_epochs))
        self.log(stage="teachers", names=names, epochs=epochs)
        self.names = []
        for name in [*names, *(f"{name}-2" for name in names), *(f"{name}-3" for name in names)]:
            took = speed[name.partition("-")[0]] * epochs
            if self.names and self.left(self.sizes.teachers_share) < took * self.count * 0.98:
                continue
            for fold in range(self.count):
                self._teacher(name, fold, epochs)
            self.names.append(name)
            self._together_log([name])
        self._together_log(self.names)

    def _a_round(self, names: list[str], speed: dict[str, float]) -> float:
        return sum(speed[name] for name in names) * self.count

    def _recipe(self, name: str, epochs: int) -> Recipe:
        design = name.partition("-")[0]
        rate = 1e-3 if design == "mixed" else 2e-3
        return Recipe(epochs, self.sizes.teacher_batch, rate, changes=TEACHER_CHANGES[design])

    def _build(self, name: str, seed: int) -> torch.nn.Module:
        torch.manual_seed(seed)
        built = nets.TEACHERS[name.partition("-")[0]](self.sizes.width).to(self.device)
        return built.to(memory_format=torch.channels_last)

    def _seconds_an_epoch(self, name: str) -> float:
        learned = np.flatnonzero(self.folds > 0)
        network, recipe = self._build(name, 0), self._recipe(name, 1)
        for steps in (8, 24):  # the first for what is chosen and loaded at first
            seconds = learn.fit(
                network, recipe, self.images[self._put(learned)], self.labels[learned], seed=0, steps=steps
            )
        return seconds / 24 * (len(learned) / recipe.batch_size) * 1.03

    def _teacher(self, name: str, fold: int, epochs: int) -> None:
        learned = np.flatnonzero((self.folds >= 0) & (self.folds != fold))
        seed = 1000 * fold + sum(name.encode())
        network = self._build(name, seed)
        images, dev = self.images[self._put(learned)], self.folds == DEV
        curve = []

        def watch(epoch: int, _: float) -> None:
            if fold == 0:
                found = learn.read(network, self.images[self._put(dev)]).cpu().numpy()
                curve.append([epoch + 1, round(judged(found, self.labels[dev])["accuracy"], 4)])

        seconds = learn.fit(network, self._recipe(name, epochs), images, self.labels[learned], seed=seed, watch=watch)
        self.teachers.append((name, fold, network))
        found = learn.read(network, self.images[self._put(dev)]).cpu().numpy()
        self.log(
            stage="teacher", name=name, fold=fold, seconds=round(seconds, 1), dev=judged(found, self.labels[dev]),
            curve=curve, parameters=sum(each.numel() for each in network.parameters()),
        )  # fmt: skip

    def _together_log(self, names: list[str]) -> None:
        """What the networks of these designs read in images that they did not learn from, and the judges' word."""
        self.read = self._together(self.images, self.folds, names)
        test = self._together(self.test, np.full(len(self.test), DEV), names)
        drawn = self._together(self.drawn, np.full(len(self.drawn), DEV), names)
        for part, mask in (
            ("folds", self.folds >= 0),
            ("dev", self.folds == DEV),
            ("validation", self.folds == VALIDATION),
        ):
            self.log(stage="together", names=names, part=part, **judged(self.read[mask], self.labels[mask]))
        np.savez_compressed(
            self.out / "teachers.npz",
            **{key: each.astype(np.float16) for key, each in (("train", self.read), ("test", test), ("drawn", drawn))},
            names=np.array(names),
        )

    def _together(self, images: Any, folds: np.ndarray, names: list[str]) -> np.ndarray:
        """(N, 37) means of logarithms: of a fold's images by its networks, of all others by all networks."""
        total, count = np.zeros((len(folds), CLASS_COUNT), np.float32), np.zeros((len(folds), 1), np.float32)
        for name, fold, network in self.teachers:
            if name in names:
                asked = (folds == fold) | (folds < 0)
                total[asked] += learn.read(network, images[self._put(asked)]).cpu().numpy()
                count[asked] += 1
        mean = total / np.maximum(count, 1)
        return mean - np.log(np.exp(mean).sum(1, keepdims=True))

    # What teachers read of many views

    def look(self) -> None:
        """Make the pool: views of all images but the validation's, read by networks that do not know them."""
        learned = self.folds >= 0
        self.temperature = best_temperature(self.read[learned], self.labels[learned])
        self.log(stage="temperature", temperature=self.temperature)
        self.pooled = np.flatnonzero(self.folds != VALIDATION)
        fold_of = np.where(
            self.folds[self.pooled] >= 0, self.folds[self.pooled], np.arange(len(self.pooled)) % self.count
        )
        total = self.sizes.full_views + self.sizes.calm_views
        seen = torch.zeros((total, len(self.pooled), 28, 28), dtype=torch.uint8, device=self.device)
        read = torch.zeros((total, len(self.pooled), CLASS_COUNT), dtype=torch.float16, device=self.device)
        torch.manual_seed(77)
        full = list(range(self.sizes.full_views))
        calm = list(range(self.sizes.full_views, total))
        order, made = [calm[0], *full[:8], *calm[1:4], *full[8:], *calm[4:]], []
        started = time.monotonic()
        for number, view in enumerate(order):
            per_view = (time.monotonic() - started) / number if number else 0.0
            if number > 8 and self.left(self.sizes.pool_share) < per_view:
                break
            for fold in range(self.count):
                networks = [each for _, of, each in self.teachers if of == fold]
                for part in np.array_split(np.flatnonzero(fold_of == fold), max(1, len(learned) // self.count // 4096)):
                    at = self._put(part)
                    self._look(seen, read, view, at, networks)
            made.append(view)
        made.sort()
        calm_count = sum(view >= self.sizes.full_views for view in made)
        kept = self._put(np.array(made))
        self.pool = Pool(seen[kept], read[kept], calm_count)
        mean = self.pool.read.float().clamp(min=1e-6).log().mean(0).cpu().numpy()
        known = self.folds[self.pooled] >= 0
        self.log(stage="pool", views=len(made), calm=calm_count, seconds=round(time.monotonic() - started, 1),
                 **judged(mean[known], self.labels[self.pooled][known]))  # fmt: skip

    @torch.no_grad()
    def _look(self, seen: Any, read: Any, view: int, at: Any, networks: list[torch.nn.Module]) -> None:
        strength = 1.0 if view < self.sizes.full_views else CALM
        images = views(self.images[self._put(self.pooled)[at]].float() / 255, POOL_CHANGES, strength)
        images = (images.clamp(0, 1) * 255).round().to(torch.uint8)
        logits = torch.stack([learn.read(each, images) for each in networks]).mean(0)
        seen[view, at] = images
        read[view, at] = (logits / self.temperature).softmax(1).to(torch.float16)

    # Students

    def give(self, path: Path) -> None:
        """Write all that students need of teachers."""
        what = {"images": self.pool.images, "read": self.pool.read, "calm": self.pool.calm, "names": self.names}
        torch.save(what, path)

    def take(self, path: Path) -> None:
        """Read what `give` wrote."""
        what = torch.load(path, map_location=self.device)
        self.pool, self.names = Pool(what["images"], what["read"], what["calm"]), what["names"]
        self.log(stage="taken", views=len(self.pool.images), names=self.names)

    def students(self, only: list[str] | None, keep: list[str]) -> float:
        """Compare designs on dev, then train the best of the taught ones from all, and others that are named.

        What the best reads right of dev.
        """
        designs = designs_of(self._epochs_for())
        designs = {name: design for name, design in designs.items() if not only or name in only}
        found: dict[str, float] = {}
        for name, design in designs.items():
            if found and self.left(self.sizes.trials_share) < self._expected(design):
                self.log(stage="students", out_of_time=name)
                continue
            found[name] = self._student(name, design, kept=False)
        best = max((name for name in found if designs[name].weight is not None), key=lambda name: found[name])
        for name in dict.fromkeys([best, *keep]):
            if name not in designs or self.left() < self._expected(designs[name]) * 1.2 + 3:
                self.log(stage="kept", out_of_time=name)
                continue
            self._student(name, designs[name], kept=True)
        return found[best]

    def _expected(self, design: Student) -> float:
        """Seconds that it will take, from what such a network took before."""
        return self.took.get(f"{design.network} {design.weight is None}", 0.0) * design.epochs

    def _epochs_for(self) -> int:
        """So many that five comparisons and two students from all fit into the time."""
        chosen, speed = np.flatnonzero(self.folds >= 0), {}
        for name in ("sharp", "stride3"):
            network = self._new(name, 0.2)
            for steps in (8, 40):
                seconds = learn.fit(
                    *(network, self._student_recipe(1, 3e-3, taught=True), None, self.labels[chosen]),
                    seed=0,
                    pool=self.pool,
                    chosen=self._places(chosen),
                    steps=steps,
                )
            speed[name] = seconds / 40 * len(chosen) / self.sizes.student_batch
        self.log(stage="speed", seconds_an_epoch=speed)
        all_of_it = speed["sharp"] * 4.0 + speed["stride3"] * 2.5
        return int(np.clip(self.left() * 0.88 / all_of_it, 2, self.sizes.student_epochs))

    def _places(self, chosen: np.ndarray) -> np.ndarray:
        return np.searchsorted(np.flatnonzero(self.folds != VALIDATION), chosen)

    def _new(self, network: str, dropout: float) -> torch.nn.Module:
        torch.manual_seed(5)
        return nets.STUDENTS[network](dropout).to(self.device).to(memory_format=torch.channels_last)

    def _student_recipe(self, epochs: int, rate: float, taught: bool) -> Recipe:
        smoothing = 0.0 if taught else 0.1
        return Recipe(epochs, self.sizes.student_batch, rate, weight_decay=0.02, ema=0.999, label_smoothing=smoothing)

    def _student(self, name: str, design: Student, kept: bool) -> float:
        """The share of dev that it reads right. One that is kept learns from dev too, and its weights are written."""
        network, taught = self._new(design.network, design.dropout), design.weight is not None
        recipe = self._student_recipe(design.epochs, design.rate, taught)
        chosen = np.flatnonzero((self.folds != VALIDATION) & (kept | (self.folds != DEV)))
        history: list[dict[str, float]] = []

        def watch(epoch: int, loss: float) -> None:
            of = self.folds == VALIDATION
            read = learn.read(network, self.images[self._put(of)]).cpu().numpy()
            right = float((read.argmax(1) == self.labels[of]).mean())
            surprise = float(-read[np.arange(len(read)), self.labels[of]].mean())
            history.append({"epoch": epoch, "loss": loss, "val_accuracy": right, "val_loss": surprise})

        if taught:
            learned, teaching = None, {"pool": self.pool, "chosen": self._places(chosen), "weight": design.weight}
            teaching["averaged"] = design.averaged
        else:
            learned, teaching = self.images[self._put(chosen)], {}
        watched = watch if kept else None
        seconds = learn.fit(network, recipe, learned, self.labels[chosen], seed=5, watch=watched, **teaching)
        self.took[f"{design.network} {design.weight is None}"] = seconds / design.epochs
        parts = {"dev": self.folds == DEV, "validation": self.folds == VALIDATION}
        found = {part: self._exactly(network, self.images[self._put(of)]) for part, of in parts.items()}
        said = {part: judged(found[part], self.labels[of]) for part, of in parts.items()}
        self.log(stage="kept" if kept else "student", name=name, seconds=round(seconds, 1), **asdict(design), **said)
        if kept:
            found |= {"test": self._exactly(network, self.test), "drawn": self._exactly(network, self.drawn)}
            weights = {f"weight{number:03d}": each for number, each in enumerate(nets.weights_in_order(network))}
            about = {
                "design": asdict(design),
                "recipe": {name: value for name, value in asdict(recipe).items() if name != "changes"},
                "changes": asdict(POOL_CHANGES if taught else recipe.changes),
                "teachers": self.names,
                "machine": self.machine,
            }
            read = {f"read_{key}": each for key, each in found.items()}
            np.savez_compressed(
                self.out / f"{name}.npz",
                **weights,
                **read,
                about=np.array(json.dumps(about)),
                history=np.array(json.dumps(history)),
            )
        else:
            self.trials |= {f"{name}-{part}": each.astype(np.float16) for part, each in found.items()}
            np.savez_compressed(self.out / "trials.npz", **self.trials)
        return float(said["dev"]["accuracy"])

    def _exactly(self, network: torch.nn.Module, images: Any) -> np.ndarray:
        read: np.ndarray = learn.read(network, images, exact=True).cpu().numpy()
        return read


def judged(read: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """All classes weighing alike: right, right with case ignored, among two; missed within each pair; the rest."""
    weights = (1 / np.maximum(np.bincount(labels, minlength=CLASS_COUNT), 1))[labels]
    weights /= weights.sum()
    folded, ranked = np.array(FOLDED), np.argsort(-read, axis=1)
    first = ranked[:, 0]
    result = {
        "count": len(labels),
        "accuracy": float(weights @ (first == labels)),
        "folded": float(weights @ (folded[first] == folded[labels])),
        "top2": float(weights @ (ranked[:, :2] == labels[:, None]).any(1)),
        "surprise": float(-weights @ read[np.arange(len(labels)), labels]),
    }
    missed = first != labels
    for pair in PAIRS:
        of = [CLASSES.index(letter) for letter in pair]
        within = missed & np.isin(first, of) & np.isin(labels, of)
        result[pair], missed = float(weights @ within), missed & ~within
    return {
        key: each if key == "count" else round(each, 5)
        for key, each in (result | {"other": float(weights @ missed)}).items()
    }


def best_temperature(read: np.ndarray, labels: np.ndarray) -> float:
    """What logarithms of probabilities are divided by to make the labels likeliest, all classes weighing alike."""
    weights = (1 / np.maximum(np.bincount(labels, minlength=CLASS_COUNT), 1))[labels]
    rows = np.arange(len(labels))

    def surprise(temperature: float) -> float:
        scaled = read / temperature
        return float(
            weights
            @ (np.log(np.exp(scaled - scaled.max(1, keepdims=True)).sum(1)) + scaled.max(1) - scaled[rows, labels])
        )

    return float(min(np.arange(0.4, 1.6, 0.02), key=surprise))


def designs_of(epochs: int) -> dict[str, Student]:
    """The designs that are compared, the most telling first."""
    few = max(1, epochs // 2)
    return {
        "sharp-taught": Student("sharp", epochs, 0.8),
        "stride3-taught": Student("stride3", epochs, 0.8),
        "sharp-labels": Student("sharp", few, None, dropout=0.3),
        "stride3-labels": Student("stride3", few, None, dropout=0.3),
        "sharp-taught-only": Student("sharp", epochs, 1.0),
        "sharp-taught-half": Student("sharp", epochs, 0.5),
        "residual-taught": Student("residual", epochs, 0.8),
        "sharp-averaged": Student("sharp", epochs, 0.5, averaged=True),
        "sharp-taught-third": Student("sharp", epochs, 0.3),
        "sharp-averaged-most": Student("sharp", epochs, 0.8, averaged=True),
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.teachers.run", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=570)
    parser.add_argument("--to", type=Path, help="train no students: write what they would learn from")
    parser.add_argument("--from", type=Path, dest="pool", help="train no teachers")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="designs of students to compare")
    parser.add_argument("--keep", nargs="+", default=["stride3-taught"], metavar="NAME", help="beside the best")
    parser.add_argument("--teachers", nargs="+", choices=nets.TEACHERS, default=list(nets.TEACHERS))
    parser.add_argument("--width", type=int, help="of the teachers' first layers")
    parser.add_argument("--epochs", type=int, help="of every network, at most")
    parser.add_argument("--views", type=int, help="of each image that students see, at most")
    parser.add_argument("--expect", type=float, default=0.0, help="of dev, by the best student; else it has failed")
    parser.add_argument("--small", action="store_true", help="a few steps of everything")
    parser.add_argument("--eager", action="store_true", help="record no steps")
    parsed = parser.parse_args()
    learn.GRAPHS = not parsed.eager
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    run = Run(parsed.data, parsed.out, parsed.seconds, sizes_of(parsed), parsed.teachers)
    run.log(stage="start", machine=run.machine)
    if parsed.pool:
        run.take(parsed.pool)
    else:
        run.teach()
        run.look()
    if parsed.to:
        run.give(parsed.to)
    else:
        best = run.students(parsed.only, parsed.keep)
        if best < parsed.expect:
            raise SystemExit(f"the best reads {best:.1%} of dev right, not {parsed.expect:.1%}")
    run.log(stage="done")


def sizes_of(parsed: argparse.Namespace) -> Sizes:
    """What a command line asks for."""
    sizes = SMALL if parsed.small else Sizes()
    if parsed.to:
        sizes = replace(sizes, teachers_share=0.8, pool_share=0.96)
    if parsed.pool:
        sizes = replace(sizes, trials_share=0.72)
    if parsed.width:
        sizes = replace(sizes, width=parsed.width)
    if parsed.epochs:
        sizes = replace(
            sizes, most_epochs=parsed.epochs, least_epochs=min(parsed.epochs, 8), student_epochs=parsed.epochs
        )
    if parsed.views:
        sizes = replace(sizes, full_views=max(1, parsed.views - parsed.views // 4), calm_views=parsed.views // 4)
    return sizes


if __name__ == "__main__":
    main()
