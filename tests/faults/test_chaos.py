"""kill -9 at random moments, of everything, under load. The hundred rounds are `python -m benchmarks.faults`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import chaos
from tests.faults.servers import postgres_programs

pytestmark = pytest.mark.long
ROUNDS = 12  # each kind twice


@pytest.mark.skipif(postgres_programs() is None, reason="there are no programs of PostgreSQL on this machine")
def test_nothing_that_was_confirmed_is_lost(tmp_path: Path) -> None:
    """Each letter that was answered is there once, each that was taken back is gone, and nothing is stuck."""
    env = {"RUN_STALE_AFTER": "5", "MAP_STALE_AFTER": "5"}
    with chaos.town(tmp_path, env) as there:
        outcome = chaos.rage(there, rounds=ROUNDS, seed=1, visitors=4, between_kills=1.0, pause=0.3, patience=120)
        said = chaos.table(outcome)
        logs = {name: part.log()[-2000:] for name, part in there.parts.items()} if outcome.problems else {}
    assert outcome.problems == [], f"{said}\n{logs}"
    assert {each.kind for each in outcome.kills} == set(chaos.KINDS)
    # what beat has to do it does every ten seconds: of the last kills it may not show before the end
    assert all(each.recovered is not None for each in outcome.kills if each.kind != "beat"), said
    assert outcome.notes.refused, "nobody noticed anything: the kills did nothing"
    assert any(asked > outcome.kills[-1].at for asked, _ in outcome.notes.keeps), "nothing was kept after the last"
