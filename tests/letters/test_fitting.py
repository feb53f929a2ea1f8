"""Fits in a process beside the worker: the same map, ended when it is no longer wanted, and told of when it dies."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from letters import fitting
from letters.map_files import Floats
from ml import embed
from ml.artifact import SHIPPED


@pytest.fixture(scope="module", autouse=True)
def _ended() -> Iterator[None]:
    """No process is left."""
    yield
    fitting.end()


@pytest.fixture(scope="module")
def letters() -> Floats:
    return embed.ReferenceMap(SHIPPED).features[:300]


def nothing(*_: Any) -> None:
    """Whoever is told so does nothing."""


def fit(
    method: str, vectors: Floats, *, tell: Callable[..., None] = nothing, check: Any = nothing, **more: Any
) -> Floats:
    return fitting.fit(method, vectors, **({"seed": 0, "start": None} | more), tell=tell, check=check).plane


def pid() -> int:
    """Of the process that fits."""
    return fitting._child().pid


def test_a_map_is_that_of_this_process_and_the_next_is_fitted_by_the_same_one(letters: Floats) -> None:
    heard: list[tuple[float, str]] = []
    first = fit("lle", letters, tell=lambda share, words: heard.append((share, words)))
    assert np.array_equal(first, embed.fit("lle", letters).plane)
    assert "neighbours that make up each letter" in [words for _, words in heard]
    before = pid()
    again = fit("lle", letters, start=first)
    assert np.array_equal(again, embed.fit("lle", letters, start=first).plane)
    assert pid() == before


def test_pca_is_fitted_here_with_all_that_it_explains(letters: Floats) -> None:
    fitted = fitting.fit("pca", letters, seed=0, start=None, tell=nothing, check=nothing)
    assert fitted.explained is not None
    assert np.array_equal(fitted.plane, embed.fit("pca", letters).plane)


def test_what_cannot_be_embedded_is_said_and_the_process_lives(letters: Floats) -> None:
    before = pid()
    with pytest.raises(embed.CannotEmbed, match="lle needs at least 16 letters, and there are 3"):
        fit("lle", letters[:3])
    assert pid() == before


def test_a_fit_that_is_no_longer_wanted_is_ended(letters: Floats) -> None:
    """While it computes and says nothing."""
    ended = pid()
    began: list[float] = []

    def unwanted() -> None:
        if began:
            raise InterruptedError
        began.append(time.monotonic())

    with pytest.raises(InterruptedError):
        fit("tsne", np.repeat(letters, 10, axis=0) + np.linspace(0, 1, 3000)[:, None], check=unwanted)
    assert time.monotonic() - began[0] < 20
    with pytest.raises(ProcessLookupError):
        os.kill(ended, 0)
    assert pid() != ended


def test_a_fit_whose_process_is_killed_says_so_and_the_next_one_works(letters: Floats) -> None:
    def kill(*_: Any) -> None:
        os.kill(pid(), signal.SIGKILL)

    with pytest.raises(fitting.FitDied, match="SIGKILL"):
        fit("lle", letters, tell=kill)
    assert fit("lle", letters).shape == (300, 2)
