"""kill -9 at random moments of web, worker, trainer, beat, Redis and PostgreSQL, under load: what is lost, how long it
takes. Ends with 1 where anything that was promised does not hold.

    python -m benchmarks.faults --rounds 100 --seed 0
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from benchmarks import machine

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")

from tests.faults import chaos


def main() -> int:
    """The exit code."""
    options = _options()
    print(machine.described(), flush=True)
    with tempfile.TemporaryDirectory(prefix="letterloop-faults-") as name:
        folder = Path(name)
        with chaos.town(folder, appendonly=options.appendonly) as there:
            outcome = chaos.rage(
                there,
                rounds=options.rounds,
                seed=options.seed,
                visitors=options.visitors,
                between_kills=options.pause,
                pause=0.5,
                patience=300,
                one_by_one=options.one_by_one,
            )
            if outcome.problems and options.logs:
                for part in there.parts.values():
                    (options.logs / f"{part.name}.log").write_text(part.log())
    print(_report(outcome))
    return 1 if outcome.problems else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--visitors", type=int, default=8)
    parser.add_argument("--pause", type=float, default=2.0, help="seconds between two kills, on the mean")
    parser.add_argument("--one-by-one", action="store_true", help="each when a letter was kept after the one before")
    parser.add_argument("--appendonly", action="store_true", help="Redis writes to a disk, which it need not")
    parser.add_argument("--logs", type=Path, help="a folder for the logs of all parts, where something did not hold")
    return parser.parse_args()


def _report(outcome: chaos.Outcome) -> str:
    notes = outcome.notes
    lines = [
        chaos.table(outcome),
        "",
        f"{len(outcome.kills)} kills in {outcome.seconds:.0f} s; all was over {outcome.settled:.0f} s after the last",
        f"{len(notes.kept)} letters kept, {notes.replayed} of them answered again to a retry;"
        f" {len(notes.withdrawn)} withdrawn, {len(notes.decided)} decided, {len(notes.predictions)} predictions",
        f"troubles that people met: {json.dumps(dict(notes.refused.most_common()))}",
        f"refusals within 3 s: {sum(took < 3 for took, _ in notes.waited)} of {len(notes.waited)};"
        f" the slowest: {[f'{took:.1f} s {what}' for took, what in sorted(notes.waited, reverse=True)[:3]]}",
        f"started anew: {json.dumps(outcome.restarts)}",
        f"how runs, exports and maps ended: {json.dumps(outcome.ended)}",
        f"what did not hold: {len(outcome.problems)}",
        *outcome.problems[:50],
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
