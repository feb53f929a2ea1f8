"""Visitors and staff who go on whatever breaks, and note what they were answered. They try again as the pages do."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import requests

from tests.letters.training import Maintainer
from tests.letters.visitor import CANVAS, LETTERS, Strokes, Visitor
from tests.running import Site

PATIENCE = 10.0  # seconds, as static/letters/js/api.js has it
LONGEST_WAIT = 1.0  # seconds between two tries; a page waits a little longer
STALE_TOKEN = {"token_expired", "token_invalid", "token_unknown_model", "token_mismatch"}  # as keeper.js has them
WITHDRAWN_SHARE = 0.2


@dataclass
class Notes:
    """What all of them were answered. `kept`: id, key and letter by id; times are of time.monotonic()."""

    kept: dict[str, tuple[str, str]] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    withdrawn: set[str] = field(default_factory=set)
    decided: dict[str, str] = field(default_factory=dict)
    predictions: list[tuple[float, float]] = field(default_factory=list)  # asked, answered
    keeps: list[tuple[float, float]] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    odd: list[str] = field(default_factory=list)  # answers that nobody should get
    replayed: int = 0
    waited: list[tuple[float, str]] = field(default_factory=list)  # for a refusal, and for which


class Crowd:
    """Threads of people. `stop` lets each finish what it is at, so that every letter sent was answered in the end."""

    def __init__(self, site: Site, *, visitors: int, seed: int, pause: float) -> None:
        self.notes = Notes()
        self._site, self._pause = site, pause
        self._stopped = threading.Event()
        people = [*[self._visit] * visitors, self._review, self._maintain]
        self._threads = [
            threading.Thread(target=self._live, args=(live, random.Random(f"{seed} {number}")), daemon=True)
            for number, live in enumerate(people)
        ]
        self._staff = [Maintainer(site, name) for name in ("grace", "ada")]

    def start(self) -> None:
        """Let them come."""
        for each in self._threads:
            each.start()

    def stop(self, patience: float = 120.0) -> None:
        """Let them finish, and go. What cannot be finished is odd."""
        self._stopped.set()
        until = time.monotonic() + patience
        for each in self._threads:
            each.join(max(0.0, until - time.monotonic()))
            if each.is_alive():
                self.notes.odd.append("somebody could not finish what was begun")

    def _live(self, live: Callable[[random.Random], None], chance: random.Random) -> None:
        try:
            live(chance)
        except Exception as error:  # a thread's exception is nobody's else
            self.notes.odd.append(f"{live.__name__}: {type(error).__name__}: {error}")

    def _until_answered(
        self, ask: Callable[[], requests.Response], *, forever: bool = True
    ) -> requests.Response | None:
        """The first answer that is none of trouble: such a request is sent again, the same."""
        while True:
            began = time.monotonic()
            try:
                answer = ask()
            except requests.RequestException as error:
                self.notes.refused[type(error).__name__] += 1
                wait = LONGEST_WAIT / 4
            else:
                if answer.status_code < 500 and answer.status_code != 429:
                    return answer
                code, took = self._code_of(answer), time.monotonic() - began
                self.notes.refused[f"{answer.status_code} {code}"] += 1
                if answer.status_code == 500:  # a fault of ours, where it should be said that a part is away
                    self.notes.odd.append(f"{answer.request.method} {answer.request.path_url}: {answer.text[:150]}")
                self.notes.waited.append((took, f"{answer.request.method} {answer.request.path_url[:40]} {code}"))
                wait = min(float(answer.headers.get("Retry-After", 1)), LONGEST_WAIT)
            if not forever and self._stopped.is_set():
                return None
            time.sleep(wait)

    def _code_of(self, answer: requests.Response) -> str:
        try:
            return str(answer.json()["code"])
        except (ValueError, KeyError):
            self.notes.odd.append(f"{answer.request.method} {answer.url}: {answer.status_code} {answer.text[:80]!r}")
            return "?"

    # --- Visitors ---

    def _visit(self, chance: random.Random) -> None:
        visitor = Visitor(self._site)
        mine: list[tuple[str, str]] = []
        while not self._stopped.wait(chance.uniform(0, 2 * self._pause)):
            letter = chance.choice(list(LETTERS))
            strokes = _by_another_hand(LETTERS[letter], chance)
            drawing = {"strokes": strokes, "canvas": CANVAS}
            token = self._read(visitor, drawing)
            kept = self._keep(visitor, drawing | {"character": letter, "consent": True, "token": token})
            if kept:
                mine.append((kept["id"], kept["receipt"]))
            if mine and chance.random() < WITHDRAWN_SHARE:
                self._withdraw(visitor, *mine.pop(chance.randrange(len(mine))))

    def _read(self, visitor: Visitor, drawing: dict[str, Any]) -> str:
        asked = 0.0

        def ask() -> requests.Response:
            nonlocal asked
            asked = time.monotonic()
            return visitor.post("/api/v1/predictions", json=drawing, timeout=PATIENCE)

        answer = self._until_answered(ask)
        assert answer is not None
        assert answer.status_code == 200, answer.text
        self.notes.predictions.append((asked, time.monotonic()))
        return str(answer.json()["token"])

    def _keep(self, visitor: Visitor, body: dict[str, Any]) -> dict[str, Any] | None:
        key, asked = str(uuid.uuid4()), 0.0
        self.notes.keys.add(key)

        def ask() -> requests.Response:
            nonlocal asked
            asked = time.monotonic()
            headers = {"Idempotency-Key": key}
            return visitor.post("/api/v1/drawings", json=body, headers=headers, timeout=PATIENCE)

        while True:
            answer = self._until_answered(ask)
            assert answer is not None
            if answer.status_code == 201:
                break
            if answer.json()["code"] not in STALE_TOKEN:
                self.notes.odd.append(f"keep: {answer.status_code} {answer.text[:120]}")
                return None
            body["token"] = self._read(visitor, {name: body[name] for name in ("strokes", "canvas")})
        kept: dict[str, Any] = answer.json()
        self.notes.replayed += "Idempotent-Replayed" in answer.headers
        self.notes.keeps.append((asked, time.monotonic()))
        self.notes.kept[kept["id"]] = key, body["character"]
        return kept

    def _withdraw(self, visitor: Visitor, drawing: str, receipt: str) -> None:
        answer = self._until_answered(
            lambda: visitor.delete(f"/api/v1/drawings/{drawing}", headers={"X-Receipt": receipt}, timeout=PATIENCE)
        )
        assert answer is not None
        if answer.status_code not in (204, 404):  # 404: it was done, and the answer lost
            self.notes.odd.append(f"withdraw: {answer.status_code} {answer.text[:120]}")
        self.notes.withdrawn.add(drawing)

    # --- Staff ---

    def _review(self, chance: random.Random) -> None:
        staff = self._staff[0]
        while not self._stopped.wait(self._pause):
            desk = self._until_answered(
                lambda: staff.post("/api/v1/review/cards", json={"wanted": {}, "count": 5}, timeout=PATIENCE),
                forever=False,
            )
            if desk is None:
                return
            for card in desk.json()["cards"]:
                self._decide(staff, card, "reject" if chance.random() < 0.1 else "approve")

    def _decide(self, staff: Maintainer, card: dict[str, Any], action: str) -> None:
        body = {"drawing": card["id"], "revision": card["revision"], "action": action}
        if action == "reject":
            body["reason"] = "unreadable"
        answer = self._until_answered(
            lambda: staff.post("/api/v1/review/decisions", json=body, timeout=PATIENCE), forever=False
        )
        if answer is None or answer.status_code == 404:  # withdrawn meanwhile
            return
        if answer.status_code != 201:
            self.notes.odd.append(f"decide: {answer.status_code} {answer.text[:120]}")
            return
        self.notes.decided[card["id"]] = answer.json()["state"]

    def _maintain(self, chance: random.Random) -> None:
        """Retrain, export, make a map, in turn; what is on its way already is joined."""
        staff = self._staff[1]
        wishes: list[tuple[str, str, dict[str, str]]] = [
            ("run", "/api/v1/training-runs", {"kind": "head"}),
            ("export", "/api/v1/exports", {"format": "ndjson"}),
            ("map", "/api/v1/maps", {"method": "pca", "space": "features"}),
            ("export", "/api/v1/exports", {"format": "idx"}),
        ]
        while True:
            for name, path, body in wishes:
                if self._stopped.wait(chance.uniform(0.5, 1.5)):
                    return
                answer = self._until_answered(
                    lambda path=path, body=body: staff.post(path, json=body, timeout=PATIENCE), forever=False
                )
                if answer is None:
                    return
                if answer.status_code in (200, 202):
                    self.notes.asked[name] += 1
                elif answer.status_code != 409:  # nothing to learn from, or to export, yet
                    self.notes.odd.append(f"{name}: {answer.status_code} {answer.text[:120]}")


def _by_another_hand(strokes: Strokes, chance: random.Random) -> Strokes:
    """The same letter, less steady: no two images are the same."""
    return [[[x + chance.uniform(-12, 12), y + chance.uniform(-12, 12)] for x, y in stroke] for stroke in strokes]
