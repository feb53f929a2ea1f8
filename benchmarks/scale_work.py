"""What workers take for a retraining, a map and an export on a site with very many drawings, and what a row costs.

    DATABASE_URL=postgres://127.0.0.1/letterloop_million VAR_DIR=/tmp/million python -m benchmarks.scale_work

On a database that `python -m benchmarks.scale` filled. Nothing in it is changed.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

EXPORTED = 20_000  # drawings


def main() -> None:
    """The command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")
    import django

    django.setup()
    figures = {"load_average": round(os.getloadavg()[0], 2)} | sizes() | retraining() | mapping() | exporting()
    figures["peak_mb"] = round(psutil.Process().memory_info().rss / 1e6)
    print(json.dumps(figures, indent=1))


def sizes() -> dict[str, Any]:
    """Bytes a row of each large table, and of its indices."""
    from django.db import connection

    from benchmarks.scale import BIG

    found = {}
    with connection.cursor() as cursor:
        for table in BIG:
            cursor.execute(
                f"SELECT count(*), pg_relation_size('{table}'), pg_table_size('{table}'), pg_indexes_size('{table}')"
                f" FROM {table}"
            )
            rows, heap, whole, indices = cursor.fetchone()
            found[table] = {
                "rows": rows,
                "bytes_a_row": round(heap / rows),
                "bytes_apart": round((whole - heap) / rows),
                "index_bytes": round(indices / rows),
            }
    return found


def retraining() -> dict[str, Any]:
    """Seconds of each part of a quick retraining: what it learns from, the fit, what judges it."""
    from letters import registry, retrain
    from letters.hold import Hold
    from letters.models import Policy, TrainingRun
    from letters.snapshots import Snapshot, holdout
    from ml import gate
    from ml.head import HeadConfig, retrain_head

    champion, config = registry.current(), HeadConfig()
    parent = registry.fetch(champion.digest)
    weigh = retrain.Weighing(config.replay_per_class, config.collected_weight, Policy().contributor_share)
    hold = Hold(TrainingRun(kind="head"))
    taken, seconds = _timed(Snapshot.take)
    (collected, _), collect_seconds = _timed(lambda: retrain.collect(hold, taken, weigh, features_by=champion.digest))
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / "artefact"
        _, fit_seconds = _timed(lambda: retrain_head(parent, candidate, collected, config, 0))
        judging, holdout_seconds = _timed(holdout)
        _, judge_seconds = _timed(lambda: gate.judge(parent, candidate, judging, gate.Limits()))
    return {
        "learned_from": len(taken.ids),
        "judged_by": len(judging.labels),
        "snapshot_s": seconds,
        "collect_s": collect_seconds,
        "fit_s": fit_seconds,
        "holdout_s": holdout_seconds,
        "judge_s": judge_seconds,
    }


def mapping() -> dict[str, Any]:
    """Seconds to bring together what a map shows of what was collected; its fit is of a bounded number of letters."""
    from letters import map_sample, registry

    drawn, seconds = _timed(lambda: map_sample.drawn(registry.current(), "features", lambda share, words: None))
    return {"mapped": len(drawn), "mapped_s": seconds}


def exporting() -> dict[str, Any]:
    """Drawings that go out in a second."""
    from letters import dataset

    done, seconds = _timed(lambda: sum(1 for _ in islice(dataset.rows("approved"), EXPORTED)))
    return {"exported": done, "exported_s": seconds}


def _timed(step: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    value = step()
    return value, round(time.perf_counter() - began, 2)


if __name__ == "__main__":
    main()
