"""What whoever watches a site reads of it: its numbers, its lines, how its parts are."""

from __future__ import annotations

import json
from typing import Any

import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.running import Part, Site

TOKEN = "a-token-of-thirty-two-characters"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
NATIVE = "INFO: Created TensorFlow Lite"  # which LiteRT writes by itself, past Python


def numbers(site: Site) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All of /metrics: by name and sorted labels."""
    response = requests.get(site.base_url + "/metrics", headers=BEARER, timeout=30)
    assert response.status_code == 200, response.text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def number(site: Site, name: str, **labels: str) -> float:
    """One of them; 0 where it is not there yet."""
    return numbers(site).get((name, tuple(sorted(labels.items()))), 0.0)


def ready(site: Site, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """What /readyz says, and with which status."""
    response = requests.get(site.base_url + "/readyz", headers=headers, timeout=30)
    value: dict[str, Any] = response.json()
    return value | {"status": response.status_code}


def lines(part: Part) -> list[dict[str, Any]]:
    """What a process of a site logged; every line of it is JSON."""
    return [json.loads(line) for line in part.log().splitlines() if line and not line.startswith(NATIVE)]


def lines_of(part: Part, request_id: str) -> list[dict[str, Any]]:
    """Those that belong to a request."""
    return [line for line in lines(part) if line.get("request") == request_id]
