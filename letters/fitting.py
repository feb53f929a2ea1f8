"""Fits of maps that take long, in a process beside the worker: it can be ended at any moment, and else stays warm."""

from __future__ import annotations

import atexit
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings

from letters.embedded import end_with_parent
from letters.map_files import Floats
from ml import embed

LOOK = 0.5  # seconds between two looks whether the fit is still wanted, while nothing is heard of it
AT_ONCE = ("pca", "svd")  # some seconds at most, and a word between its steps: in this process


class FitDied(RuntimeError):
    """The process that fitted a map ended without a word."""


def fit(
    method: str,
    vectors: Floats,
    *,
    seed: int,
    start: Floats | None,
    tell: Callable[[float, str], None],
    check: Callable[[], None],
) -> embed.Fitted:
    """As ml.embed.fit. `check` is asked twice a second; what it or `tell` raises ends the fit at once.

    Raises CannotEmbed and FitDied.
    """
    if method in AT_ONCE:
        return embed.fit(method, vectors, seed=seed, start=start, report=tell)
    with tempfile.TemporaryDirectory(prefix="letterloop-fit-") as folder:
        job = _job(Path(folder), method, vectors, seed, start)
        child = _child()
        try:
            _follow(child, job, tell, check)
        except embed.CannotEmbed:
            raise
        except BaseException:
            end()
            raise
        return embed.Fitted(np.load(job["into"]))


def _job(folder: Path, method: str, vectors: Floats, seed: int, start: Floats | None) -> dict[str, Any]:
    names = {name: str(folder / f"{name}.npy") for name in ("vectors", "start", "into")}
    np.save(names["vectors"], vectors)
    if start is not None:
        np.save(names["start"], start)
    return names | {"method": method, "seed": seed, "start": None if start is None else names["start"]}


def _follow(
    child: subprocess.Popen[bytes], job: dict[str, Any], tell: Callable[[float, str], None], check: Callable[[], None]
) -> None:
    """Until it is done."""
    assert child.stdin is not None  # noqa: S101 - for the type checker
    with suppress(BrokenPipeError):  # it died; its end of output says so below
        child.stdin.write(json.dumps(job).encode() + b"\n")
        child.stdin.flush()
    for line in _lines(child, check):
        said = json.loads(line)
        if "refused" in said:
            raise embed.CannotEmbed(said["refused"])
        if "done" in said:
            return
        tell(said["share"], said["words"])
    raise FitDied(f"the fit was ended ({_last_words(child)}): see whether memory ran out, then ask for it again")


def _lines(child: subprocess.Popen[bytes], check: Callable[[], None]) -> Iterator[bytes]:
    """What it says, line by line, until it ends; `check` is asked while it says nothing."""
    assert child.stdout is not None  # noqa: S101 - for the type checker
    pipe, left = child.stdout.fileno(), b""
    with selectors.DefaultSelector() as heard:
        heard.register(pipe, selectors.EVENT_READ)
        while True:
            if not heard.select(LOOK):
                check()
                continue
            some = os.read(pipe, 65_536)  # not a line of the file: what that reads ahead, no selector sees
            if not some:
                return
            *lines, left = (left + some).split(b"\n")
            yield from lines


def _last_words(child: subprocess.Popen[bytes]) -> str:
    status = child.wait()
    return signal.Signals(-status).name if status < 0 else f"status {status}"


# --- The process ---------------------------------------------------------------------------------------------------

_children: dict[int, subprocess.Popen[bytes]] = {}
"""By the process that started it: a worker that is forked from this one starts its own."""


def _child() -> subprocess.Popen[bytes]:
    """The one that was started before, if it lives."""
    child = _children.get(os.getpid())
    if child is None or child.poll() is not None:
        child = _children[os.getpid()] = subprocess.Popen(
            [sys.executable, "-m", "ml.fitting"],
            cwd=settings.BASE_DIR,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
    return child


def end() -> None:
    """End the process, if there is one; the next fit starts another."""
    child = _children.pop(os.getpid(), None)
    if child is None:
        return
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe:
            with suppress(BrokenPipeError):
                pipe.close()


atexit.register(end)
