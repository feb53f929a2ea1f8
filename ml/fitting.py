"""`python -m ml.fitting`: fits maps in a process of its own, one after the other, until its input ends.

A line of JSON a job comes in: {"method", "seed", "vectors", "start" or null, "into"}, the last three names of .npy
files. Lines of JSON go out: {"share", "words"} while it fits, then {"done": true}, or {"refused": words} where
ml.embed raised CannotEmbed. Whoever started it may kill it at any moment. While it lives, what UMAP compiled stays.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, TextIO

import numpy as np

from ml import embed


def main() -> None:
    """Answer to what standard output was; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        say(answers, answer(json.loads(line), answers))


def answer(job: dict[str, Any], answers: TextIO) -> dict[str, Any]:
    """Fit, write, and what is to be said then."""
    try:
        fitted = embed.fit(
            job["method"],
            np.load(job["vectors"]),
            seed=job["seed"],
            start=None if job["start"] is None else np.load(job["start"]),
            report=lambda share, words: say(answers, {"share": share, "words": words}),
        )
    except embed.CannotEmbed as refusal:
        return {"refused": str(refusal)}
    np.save(job["into"], fitted.plane)
    return {"done": True}


def say(answers: TextIO, what: dict[str, Any]) -> None:
    """One line."""
    print(json.dumps(what), file=answers, flush=True)


if __name__ == "__main__":
    main()
