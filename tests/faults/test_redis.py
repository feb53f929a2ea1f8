"""Redis cannot be reached, has no memory left, or forgot everything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.asking import heals, in_time, keeper, predict, there, told, watch_until
from tests.faults.proxy import Proxy, between
from tests.faults.servers import OwnRedis
from tests.letters.training import Maintainer, approve
from tests.letters.visitor import Visitor
from tests.running import Site, running_site

pytestmark = [pytest.mark.long, pytest.mark.database]


@pytest.fixture(scope="module")
def network(redis_server: OwnRedis) -> Iterator[Proxy]:
    """Between all of the site and its Redis."""
    with between(redis_server.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def site(network: Proxy) -> Iterator[Site]:
    env = {
        "REDIS_URL": f"redis://127.0.0.1:{network.port}/0",
        "THROTTLE_PREDICTIONS": "6000/min",  # they are counted in Redis: visitors wait for that as well
        "THROTTLE_DRAWINGS": "6000/min",
        "THROTTLE_KEPT": "6000/hour",
    }
    with running_site(processes=1, env=env) as started:
        started.trainer.start()
        yield started


@contextmanager
def no_memory(server: OwnRedis) -> Iterator[None]:
    """Redis takes nothing in."""
    with server.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        yield
        client.config_set("maxmemory", "0")


def test_a_network_that_swallows_all(site: Site, maintainer: Maintainer, visitor: Visitor, network: Proxy) -> None:
    """Each request of a visitor, the first and every other, is answered in time; what needs no model goes on."""
    approve(site, 5)
    keep = keeper(visitor, "parted-00")
    network.partition()
    try:
        for _ in range(3):
            told(lambda: predict(visitor), "inference_unavailable")
        assert in_time(keep).status_code == 201
        assert in_time(lambda: visitor.get("/api/v1/drawings/mine")).status_code == 200
        asked = maintainer.post("/api/v1/training-runs", json={"kind": "head"})
        assert asked.status_code == 202
        for page in ("/", "/samples", "/mine", "/healthz"):
            assert in_time(lambda page=page: visitor.get(page)).status_code == 200, page
    finally:
        network.heal()
    heals(visitor, 20)
    assert there(site, "parted-00") == 1
    run = asked.json()["run"]["id"]
    done = watch_until(site, lambda: maintainer.run(run)["state"] not in ("queued", "running"), "the run is over", 90)
    assert done
    assert maintainer.run(run)["state"] == "done"
    for part in (site.web, site.worker, site.trainer):
        assert part.runs(), f"{part.name} ended"


def test_a_redis_without_memory(site: Site, visitor: Visitor, redis_server: OwnRedis) -> None:
    """What cannot be sent is said, what needs no model goes on; all goes on as soon as there is room."""
    heals(visitor, 20)
    keep = keeper(visitor, "no-memory-00")
    with no_memory(redis_server):
        for _ in range(3):
            told(lambda: predict(visitor), "inference_unavailable")
        assert in_time(keep).status_code == 201
    heals(visitor, 20)
    assert there(site, "no-memory-00") == 1
    for part in (site.web, site.worker, site.trainer):
        assert part.runs(), f"{part.name} ended"


def test_a_redis_that_forgot_everything(
    site: Site, maintainer: Maintainer, visitor: Visitor, redis_server: OwnRedis
) -> None:
    """What waited in its queues is found in the database, and done; whoever is logged in still is."""
    heals(visitor, 20)
    approve(site, 5)
    keep = keeper(visitor, "forgotten-00")
    site.worker.pause()  # so that what is sent waits
    site.trainer.pause()
    assert keep().status_code == 201
    run = maintainer.start("head")["run"]["id"]
    export = maintainer.post("/api/v1/exports", json={"format": "ndjson"}).json()["id"]
    made = maintainer.post("/api/v1/maps", json={"method": "pca", "space": "features"}).json()["id"]
    with redis_server.client() as client:
        assert client.dbsize() > 0
        client.flushall()
    site.worker.resume()
    site.trainer.resume()
    heals(visitor, 20)
    site.rows("UPDATE letters_export SET heartbeat_at = '2026-01-01 00:00:00+00:00' WHERE state = 'queued'")

    def all_done() -> bool:
        states = {
            maintainer.run(run)["state"],
            maintainer.get(f"/api/v1/exports/{export}").json()["state"],
            maintainer.get(f"/api/v1/maps/jobs/{made}").json()["state"],
        }
        examined = site.rows(
            "SELECT 1 AS one FROM letters_examination e JOIN letters_drawing d ON d.id = e.drawing_id"
            " WHERE d.idempotency_key = %s",
            "forgotten-00",
        )
        return states == {"done"} and bool(examined)

    watch_until(site, all_done, "the run, the export, the map and the examination are done", 120)
