"""Honest and dishonest contributors: whatever got through review, what serves stays as good as the gate allows."""

from __future__ import annotations

import pytest

from ml import simulate
from ml.artifact import SHIPPED

ALLOWED = 0.01  # of letters that the gate never saw, 1,850 of EMNIST and 1,300 collected: what is within its chance


@pytest.fixture(scope="module")
def stage() -> simulate.Stage:
    return simulate.set_stage(SHIPPED)


@pytest.fixture(scope="module")
def outcomes(stage: simulate.Stage) -> dict[str, simulate.Outcome]:
    return {name: simulate.play(SHIPPED, deed, stage) for name, deed in simulate.SCENES.items()}


@pytest.mark.slow
@pytest.mark.parametrize("scene", simulate.SCENES)
def test_what_serves_is_never_worse_than_the_gate_allows(outcomes: dict[str, simulate.Outcome], scene: str) -> None:
    outcome = outcomes[scene]
    assert outcome.emnist_after >= outcome.emnist_before - ALLOWED
    assert outcome.collected_after >= outcome.collected_before - ALLOWED
    assert outcome.verdict.passed or outcome.verdict.reasons


@pytest.mark.slow
def test_a_renamed_class_is_refused_by_its_recall(outcomes: dict[str, simulate.Outcome]) -> None:
    verdict = outcomes["a class renamed"].verdict
    assert not verdict.passed
    assert any("Z (" in reason for reason in verdict.reasons)


@pytest.mark.slow
def test_honest_contributors_are_learnt_from(outcomes: dict[str, simulate.Outcome]) -> None:
    outcome = outcomes["honest"]
    assert outcome.verdict.passed
    assert outcome.collected_after > outcome.collected_before + 0.05
