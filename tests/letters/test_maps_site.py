"""Maps on a site that runs: letters land when they are approved, and go when withdrawn; a killed fit is begun again."""

from __future__ import annotations

import contextlib
import re
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.letters.mapping import maps_of, points_of
from tests.letters.training import PATIENCE, Maintainer, watch
from tests.letters.visitor import LETTERS, Visitor, scaled
from tests.running import Site, wait_for


def test_it_works(site: Site, visitor: Visitor) -> None:
    """An approved letter comes to lie on the maps of a machine that has no trainer, and leaves them at once."""
    with Maintainer(site, "moe", "reviewers") as reviewer:
        kept = visitor.keep(strokes=scaled(LETTERS["V"], 0.83, 4, 7), character="V")
        before = points_of(visitor, maps_of(visitor)["umap", "features"])
        assert kept["id"] not in shown(visitor)
        body = {"drawing": kept["id"], "revision": 0, "action": "approve"}
        answer = reviewer.post("/api/v1/review/decisions", json=body)
        assert answer.status_code == 201, answer.text
    wait_for(lambda: kept["id"] in shown(visitor), "it is on the map by UMAP", 30)
    wait_for(lambda: kept["id"] in shown(visitor, "pca"), "it is on the map by PCA", 30)
    after = points_of(visitor, maps_of(visitor)["umap", "features"])
    assert (after.places == before.places).all()
    points = points_of(visitor, maps_of(visitor)["umap", "features"], "collected")
    here = points.places[points.ids.index(kept["id"])]
    theirs = after.places[after.labels == 21]  # V
    assert (abs(theirs - here).max(axis=1) < 0.1).any()
    assert visitor.withdraw(kept["id"], kept["receipt"]).status_code == 204
    assert kept["id"] not in shown(visitor)
    assert kept["id"] not in shown(visitor, "pca")


def shown(visitor: Visitor, method: str = "umap") -> list[str]:
    """The drawings on the newest map of a method."""
    return points_of(visitor, maps_of(visitor)[method, "features"], "collected").ids


def job(maintainer: Maintainer, map_id: str) -> dict[str, Any]:
    """How far a map is."""
    answer = maintainer.get(f"/api/v1/maps/jobs/{map_id}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.slow
def test_a_killed_fit_is_begun_again(training_site: Site, maintainer: Maintainer) -> None:
    """Whatever it was at: until another worker has made it the old map stays."""
    old = maps_of(maintainer)["pca", "features"]["id"]
    asked = maintainer.post("/api/v1/maps", json={"method": "pca", "space": "features"}).json()["id"]

    def runs() -> bool:
        watch(training_site)
        return job(maintainer, asked)["state"] == "running"

    wait_for(runs, "it runs", PATIENCE)
    training_site.trainer.kill()
    try:
        assert job(maintainer, asked)["state"] == "running"
        assert maps_of(maintainer)["pca", "features"]["id"] == old
    finally:
        training_site.trainer.start()

    def over() -> bool:
        watch(training_site)
        return job(maintainer, asked)["state"] not in ("queued", "running")

    wait_for(over, "it is made", PATIENCE)
    done = job(maintainer, asked)
    assert done["state"] == "done", done
    assert done["attempts"] >= 2
    summary = maps_of(maintainer)["pca", "features"]
    assert summary["id"] == asked
    assert maintainer.get(summary["urls"]["svg"]).headers["Content-Type"] == "image/svg+xml"
    (row,) = training_site.rows("SELECT trigger, requested_by FROM letters_lettermap WHERE id = %s", uuid.UUID(asked))
    assert row == {"trigger": "api", "requested_by": "ada"}


def fitting(site: Site) -> list[int]:
    """Processes beside this site's trainer that fit maps."""
    listed = subprocess.run(["ps", "-eww", "-o", "pid,stat,args"], capture_output=True, text=True, check=True).stdout
    found = [int(pid) for pid in re.findall(r"^ *(\d+) +[^Z ]\S* .*-m ml\.fitting$", listed, re.MULTILINE)]
    return [pid for pid in found if f"VAR_DIR={site.folder}".encode() in environment(pid)]


def environment(pid: int) -> list[bytes]:
    """What a process was started with; nothing where it ended meanwhile."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return []


@pytest.mark.slow
def test_a_map_is_cancelled_while_it_is_fitted(training_site: Site, maintainer: Maintainer) -> None:
    """Soon its worker has let go, and makes the next one; until then the old map stays."""
    old = maps_of(maintainer)["umap", "features"]["id"]
    asked = maintainer.post("/api/v1/maps", json={"method": "umap", "space": "features"}).json()["id"]

    def is_fitted() -> bool:
        watch(training_site)
        return bool(fitting(training_site))

    wait_for(is_fitted, "it is fitted", PATIENCE)
    assert job(maintainer, asked)["state"] == "running"
    answer = maintainer.post(f"/api/v1/maps/jobs/{asked}/cancel")
    assert (answer.status_code, answer.json()["cancelled"]) == (200, True), answer.text
    wait_for(lambda: not fitting(training_site), "the fit is ended", 20)
    assert job(maintainer, asked)["state"] == "cancelled"
    assert maps_of(maintainer)["umap", "features"]["id"] == old
    after = maintainer.post("/api/v1/maps", json={"method": "svd", "space": "features"}).json()["id"]

    def is_made() -> bool:
        watch(training_site)
        return job(maintainer, after)["state"] == "done"

    wait_for(is_made, "the next one is made", PATIENCE)
    assert job(maintainer, asked)["state"] == "cancelled"
