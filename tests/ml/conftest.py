"""What the tests of the machine learning share. What needs letters that a machine lacks says so, and is not run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ml.artifact import SHIPPED
from ml.predictor import Predictor

ROOT = Path(__file__).parents[2]
BESIDE = ROOT.parent / "shared"


def _named(variable: str, beside: str) -> Path | None:
    path = Path(os.environ.get(variable) or BESIDE / beside)
    return path if path.is_file() else None


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    """The model that ships."""
    return Predictor(SHIPPED)


@pytest.fixture(scope="session")
def emnist_archive() -> Path:
    """The archive with the dataset `open37`."""
    path = _named("EMNIST_ARCHIVE", "emnist/emnist.zip")
    if path is None:
        pytest.skip("NOT RUN: no EMNIST archive on this machine; set EMNIST_ARCHIVE to one that holds open37")
    return path


@pytest.fixture(scope="session")
def drawn_letters() -> list[dict[str, Any]]:
    """Letters that people drew on a screen: character, writer, strokes."""
    path = _named("LETTERLOOP_STROKES", "strokes/chars74k-dev.jsonl")
    if path is None:
        pytest.skip("NOT RUN: no drawn letters on this machine; set LETTERLOOP_STROKES to a file of them")
    with path.open() as lines:
        return [json.loads(line) for line in lines]
