"""A load generator that costs little: one thread, raw keep-alive sockets, requests built beforehand.

It shares its two cores with what it measures. A request costs it a write, a poll, a read and a search for the end of
the headers; `Load.own_seconds` says how much processor time that was, and the report shows it. Answers are counted by
their status; the first of each run is parsed and looked at as a whole, so that a fast wrong answer is no success.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field

from benchmarks import letter

PATIENCE = 10.0  # seconds after which an answer counts as lost


@dataclass
class Load:
    """What came of a run: the latency of each right answer in ms, what went wrong, how long it took."""

    latencies: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0
    own_seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Right answers a second."""
        return len(self.latencies) / self.seconds


class Client:
    """One visitor on one connection, who asks again as soon as the answer is there."""

    def __init__(self, port: int, request: bytes) -> None:
        self._port, self._request = port, request
        self._connect()

    def _connect(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request: bytes = b"") -> None:
        """Send the request, or another one; the answer is taken by `take`."""
        self._got, self._wanted = b"", 0
        self.asked = time.perf_counter()
        self.socket.sendall(request or self._request)

    def take(self) -> bytes | None:
        """What has come of the answer, once it is whole. Raises ConnectionError."""
        chunk = self.socket.recv(65536)
        if not chunk:
            raise ConnectionError("the connection was closed in the midst of an answer")
        self._got += chunk
        if not self._wanted:
            self._wanted = _length(self._got)
        return self._got if self._wanted and len(self._got) >= self._wanted else None

    def reconnect(self) -> None:
        """Begin anew after an error."""
        self.close()
        self._connect()

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


def _length(got: bytes) -> int:
    """Length of the whole answer, headers and all; 0 while that cannot be told."""
    end = got.find(b"\r\n\r\n")
    if end < 0:
        return 0
    start = got.lower().find(b"content-length:", 0, end)
    if start < 0:
        raise ConnectionError("an answer without Content-Length")
    return end + 4 + int(got[start + 15 : got.index(b"\r\n", start)])


def prediction_request(port: int) -> bytes:
    """One prediction as a browser asks for it that has been here before: with its cookie."""
    body = letter.body()
    cookie = cookie_of(ask_once(port, post(port, body)))
    return post(port, body, f"Cookie: {cookie}\r\n")


def post(port: int, body: bytes, extra: str = "", path: str = "predictions") -> bytes:
    """A request with a JSON body; `extra` headers end with a line break."""
    head = (
        f"POST /api/v1/{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Accept: application/json\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def cookie_of(answer: bytes) -> str:
    """What an answer gives the browser to keep: "name=value". Raises StopIteration where it gives nothing."""
    head = answer.partition(b"\r\n\r\n")[0].decode("latin-1")
    named = next(line for line in head.split("\r\n") if line.lower().startswith("set-cookie:"))
    return named.partition(":")[2].partition(";")[0].strip()


def ask_once(port: int, request: bytes) -> bytes:
    """One answer on a connection of its own."""
    client = Client(port, request)
    try:
        client.ask()
        while (answer := client.take()) is None:
            pass
        return answer
    finally:
        client.close()


def complaint(answer: bytes) -> str:
    """Why this is not the prediction that was asked for; empty if it is."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        return f"{head[:40]!r} {body[:200]!r}"
    value = json.loads(body)
    if value["label"] != "A" or len(value["probabilities"]) != 37:
        return f"a wrong reading: {value['label']}"
    return ""


def one_at_a_time(port: int, count: int) -> Load:
    """`count` predictions one after the other on one connection."""
    client = Client(port, prediction_request(port))
    load, started = Load(), time.perf_counter()
    for _ in range(count):
        client.ask()
        while (answer := client.take()) is None:
            pass
        _note(load, client, answer, whole=True)
    load.seconds = time.perf_counter() - started
    client.close()
    return load


def many_at_once(port: int, clients: int, seconds: float, *, most: int = sys.maxsize) -> Load:
    """`clients` visitors, each asking again as soon as it is answered, for `seconds` or until `most` answers."""
    request = prediction_request(port)
    load, own = Load(), time.process_time()
    with selectors.DefaultSelector() as selector:
        for client in [Client(port, request) for _ in range(clients)]:
            client.ask()
            selector.register(client.socket, selectors.EVENT_READ, client)
        started = time.perf_counter()
        _serve(selector, load, started + seconds, most)
        load.seconds = time.perf_counter() - started
        _hang_up(selector)
    load.own_seconds = time.process_time() - own
    return load


def _serve(selector: selectors.BaseSelector, load: Load, end: float, most: int) -> None:
    while (now := time.perf_counter()) < end and len(load.latencies) < most:
        for key, _ in selector.select(timeout=end - now):
            _advance(selector, load, key.data)


def _advance(selector: selectors.BaseSelector, load: Load, client: Client) -> None:
    try:
        answer = client.take()
    except OSError as error:
        load.errors.append(str(error))
        selector.unregister(client.socket)
        client.reconnect()
        selector.register(client.socket, selectors.EVENT_READ, client)
        client.ask()
        return
    if answer is not None:
        _note(load, client, answer, whole=not load.latencies)
        client.ask()


def _note(load: Load, client: Client, answer: bytes, *, whole: bool) -> None:
    problem = complaint(answer) if whole or not answer.startswith(b"HTTP/1.1 200 ") else ""
    if problem:
        load.errors.append(problem)
    else:
        load.latencies.append((time.perf_counter() - client.asked) * 1000)


def _hang_up(selector: selectors.BaseSelector) -> None:
    """Take the answers that are on their way first: a worker that writes to nobody would disturb the next run."""
    for key in list(selector.get_map().values()):
        client: Client = key.data
        try:
            while client.take() is None:
                pass
        except OSError:
            pass
        client.close()
