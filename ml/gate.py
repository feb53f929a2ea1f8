"""The verdict between the model that serves, the champion, and one that would replace it, the candidate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Limits:
    """What a candidate may cost."""

    significance: float = 0.05  # a loss that chance brings about less often than this is a loss
    class_loss: float = 5.0  # percentage points of a class's recall
    holdout_minimum: int = 100  # with fewer collected drawings to judge by, they are too few to say
    calibration_loss: float = 2.0  # percentage points of the expected calibration error
    emnist_loss: float = 0.2  # percentage points on EMNIST while the collected drawings are too few to say


@dataclass(frozen=True)
class Holdout:
    """Reviewed drawings of contributors who are never trained on: images (N, 28, 28) uint8, labels (N,) uint8."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Verdict:
    """Whether the candidate may serve: `tests` in full, `reasons` why not (none when it passed)."""

    passed: bool
    summary: str
    reasons: list[str]
    tests: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {"passed": self.passed, "summary": self.summary, "reasons": self.reasons, "tests": self.tests}


def judge(champion: Path, candidate: Path, holdout: Holdout, limits: Limits) -> Verdict:
    """Compare two artefacts on the EMNIST test of theirs and on the collected holdout."""
    raise NotImplementedError
