"""The machine learning knows nothing of the site, and what serves knows nothing of TensorFlow."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ml.conftest import ROOT

FOREIGN = {"django", "rest_framework", "celery", "kombu", "redis", "letters", "webapp"}
HEAVY = {"tensorflow", "keras", "sklearn", "scipy", "umap", "numba", "matplotlib", "emnist"}
SOURCES = sorted((ROOT / "ml").glob("**/*.py"))


def imported(source: Path) -> set[str]:
    """The top-level packages that a file imports anywhere, also within functions."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source.name} imports by a relative path"
            found.add((node.module or "").partition(".")[0])
    return found


def test_there_is_something_to_look_at() -> None:
    assert {"preprocess.py", "train.py", "predictor.py"} <= {source.name for source in SOURCES}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_ml_imports_nothing_of_the_site(source: Path) -> None:
    assert not imported(source) & FOREIGN


@pytest.mark.parametrize("name", ["augment", "checkpoint", "crossfit", "exclusion", "network", "progress", "train"])
def test_training_uses_no_backend_but_through_keras(name: str) -> None:
    assert not imported(ROOT / "ml" / f"{name}.py") & {"tensorflow", "tf_keras", "torch", "jax"}
    assert "keras.src" not in (ROOT / "ml" / f"{name}.py").read_text()


def test_preprocessing_needs_numpy_and_pillow_alone() -> None:
    standard = sys.stdlib_module_names
    assert {name for name in imported(ROOT / "ml" / "preprocess.py") if name not in standard} == {"numpy", "PIL"}


@pytest.mark.parametrize(
    "module",
    [
        "labels",
        "preprocess",
        "predictor",
        "predict",
        "evaluate",
        "evaluation_figures",
        "exams",
        "calibration",
        "paired",
        "artifact",
        "graft",
        "head",
        "gate",
        "embed",
        "figures",
    ],
)
def test_what_serves_loads_no_training_library(module: str) -> None:
    script = f"import sys, ml.{module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & (HEAVY | FOREIGN)
