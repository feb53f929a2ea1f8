"""gunicorn's worker with threads, but a thread never waits for a client.

gunicorn 27 hands a connection to a thread with its first byte: as many clients as there are threads that send a byte
now and then, or read their answer as slowly, and nobody else is served. Here the loop that watches all connections
takes a request in until it is whole, and sends what a client has not taken of its answer; a thread only computes. Who
is slower than `PATIENCE` and `RATE` allow is left.

Where more is asked than can be computed, requests wait for a thread, and after `TURN` whoever wants a letter read is
told at once to come again, and so is whoever waited for `LATE`: else all would wait ever longer, until nobody is still
there to be answered. Pages, and drawings that are kept, wait their turn.
"""

from __future__ import annotations

import errno
import json
import math
import re
import select
import selectors
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]

PATIENCE = 10.0  # seconds in which a client may do nothing at all
RATE = 8 * 1024  # bytes a second that it sends or takes on the whole, else
HEAD = 64 * 1024  # bytes of a request's head
BODY = 3 * 1024 * 1024  # bytes; what is larger letters.body_limit refuses, and nobody keeps it
DRAINED = 32 * 1024 * 1024  # bytes: a client that is still sending when the connection closes never reads our answer
SMALL = 64 * 1024  # bytes that a connection may have here whatever others have
HELD = 2 * 1024 * 1024  # bytes of an answer that wait without a thread
BUDGET = 64 * 1024 * 1024  # bytes of all connections of a process
CHUNK = 64 * 1024
LINGER = 2.0  # seconds in which a client may close a connection after its last answer
SWEPT_EVERY = 0.5  # seconds
TURN = 1.5  # seconds that the next in turn may have waited for a thread while more predictions are let in
LATE = 3.0  # seconds after which a prediction whose turn it is then is not begun any more

_END = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,18})[ \t]*\r?$", re.I | re.M)
_CHUNKED = re.compile(rb"^transfer-encoding:.*chunked[ \t]*\r?$", re.I | re.M)
_CONTINUE = re.compile(rb"^expect:[ \t]*100-continue[ \t]*\r?$", re.I | re.M)
_PASSING = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED, errno.EMFILE, errno.ENFILE}  # of a new connection
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 10\r\nContent-Length: 0\r\n\r\n"
_PREDICTION = b"POST /api/v1/predictions HTTP"
_AWAY = json.dumps(  # as letters.errors.InferenceUnavailable has it
    {
        "code": "inference_unavailable",
        "message": "the model cannot be reached just now; your drawing is not lost, try again",
    }
).encode()
_COME_AGAIN = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 2\r\nCache-Control: no-store\r\n"
    b"Content-Type: application/json\r\nX-Content-Type-Options: nosniff\r\nContent-Length: %d\r\n\r\n%b"
) % (len(_AWAY), _AWAY)
_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Budget:
    """Bytes that wait in memory for clients."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held = 0

    def add(self, count: int) -> None:
        with self._lock:
            self._held += count

    @property
    def is_spent(self) -> bool:
        return self._held > BUDGET


class Line(socket.socket):
    """A connection. To a thread it looks as if the client had sent all and took all at once."""

    unsent: bytearray
    budget: Budget

    @classmethod
    def of(cls, accepted: socket.socket, budget: Budget) -> Line:
        made = cls(fileno=accepted.detach())
        made.unsent, made.budget = bytearray(), budget
        return made

    def recv(self, *_: Any) -> bytes:
        """Nothing: the request is there whole before a thread has to do with it."""
        return b""

    def arrived(self) -> bytes | None:
        """What came since; None where nothing did, and nothing at all at the end. Raises OSError."""
        try:
            return super().recv(CHUNK)
        except BlockingIOError:
            return None

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send what the client takes at once, and keep the rest, unless that is very much. Raises OSError."""
        self.unsent += data
        self.budget.add(memoryview(data).nbytes)
        self.flush()
        if len(self.unsent) > HELD or (len(self.unsent) > SMALL and self.budget.is_spent):
            self._wait()

    def flush(self) -> int:
        """Send what the client takes now; how much that was."""
        before = len(self.unsent)
        try:
            while self.unsent:
                sent = super().send(memoryview(self.unsent)[:CHUNK].tobytes(), socket.MSG_DONTWAIT)
                del self.unsent[:sent]
        except BlockingIOError:
            pass
        finally:
            self.budget.add(len(self.unsent) - before)
        return before - len(self.unsent)

    def _wait(self) -> None:
        began, sent = time.monotonic(), 0
        while len(self.unsent) > SMALL:
            left = _deadline(began, sent) - time.monotonic()
            poll = select.poll()  # select() itself knows no more than 1,024 files
            poll.register(self, select.POLLOUT)
            if left <= 0 or not poll.poll(1000 * left):
                self.forget()
                raise BrokenPipeError(errno.EPIPE, "the client takes its answer too slowly")
            sent += self.flush()

    def forget(self) -> None:
        """What was not sent will not be."""
        self.budget.add(-len(self.unsent))
        self.unsent.clear()


def _deadline(began: float, moved: int) -> float:
    """When patience with a client ends that has moved so many bytes."""
    return began + PATIENCE + moved / RATE


class Chunks:
    """How far a body is whose length is not told: it ends with a chunk of none."""

    def __init__(self) -> None:
        self.size = 0  # bytes of all chunks so far, without what frames them
        self.is_over = False
        self._skip = 0
        self._line = b""
        self._is_last = False

    def feed(self, data: bytes) -> None:
        """Raises ValueError for what is no chunk."""
        at = 0
        while at < len(data) and not self.is_over:
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip, at = self._skip - step, at + step
                continue
            end = data.find(b"\n", at) + 1 or len(data)
            self._line, at = self._line + data[at:end], end
            if self._line.endswith(b"\n"):
                self._begin(self._line.strip())
                self._line = b""
            elif len(self._line) > CHUNK:
                raise ValueError("a line without end")

    def _begin(self, line: bytes) -> None:
        if self._is_last:  # trailers, until an empty line
            self.is_over = not line
            return
        size = int(line.partition(b";")[0], 16)
        if size < 0:
            raise ValueError("a chunk of less than nothing")
        self.size += size
        self._is_last, self._skip = size == 0, size + 2 if size else 0


@dataclass
class Arriving:
    """What a client has sent of a request so far."""

    data: bytearray = field(default_factory=bytearray)
    began: float = field(default_factory=time.monotonic)
    taken: int = 0  # bytes, also of what was thrown away
    head: int | None = None  # where the body begins
    length: int = 0
    chunks: Chunks | None = None
    is_broken: bool = False  # it is no request, or ends in the middle
    waits_for_leave: bool = False  # to send its body
    is_watched: bool = False

    @property
    def deadline(self) -> float:
        return _deadline(self.began, self.taken)

    def add(self, more: bytes) -> None:
        """Take in some more. Of a body that is too large only so much is kept as shows that it is."""
        self.taken += len(more)
        if self.head is None:
            self.data += more
            self._find_head()
            more = bytes(self.data[self.head :]) if self.head is not None else b""
        elif len(self.data) <= self.head + BODY + CHUNK or self._shows_no_size():
            self.data += more
        if self.chunks is not None:
            self._feed(more)

    def _shows_no_size(self) -> bool:
        return self.chunks is not None and self.chunks.size <= BODY + 1 and len(self.data) < DRAINED

    def _find_head(self) -> None:
        found = _END.search(self.data)
        if found is None:
            return
        self.head = found.end()
        lines = bytes(self.data[: found.start() + 1])
        length = _LENGTH.search(lines)
        self.length = int(length[1]) if length else 0
        self.chunks = Chunks() if _CHUNKED.search(lines) else None
        self.waits_for_leave = bool(_CONTINUE.search(lines))

    def _feed(self, more: bytes) -> None:
        assert self.chunks is not None  # noqa: S101 - for the type checker
        try:
            self.chunks.feed(more)
        except ValueError:
            self.is_broken = True

    @property
    def is_whole(self) -> bool:
        """Whether there is no use in waiting for more."""
        if self.head is None or self.is_broken:
            return self.is_broken
        body = self.taken - self.head
        is_over = self.chunks.is_over if self.chunks is not None else body >= self.length
        return is_over or body >= DRAINED

    @property
    def is_last(self) -> bool:
        """Whether what comes next on the connection, if anything, is no request."""
        return self.is_broken or max(self.length, self.chunks.size if self.chunks else 0) > BODY


class Worker(ThreadWorker):  # type: ignore[misc]
    """Connections are in one of four places: they arrive, a thread has them, they are sent to, or they leave."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._budget = Budget()
        self._arriving: dict[TConn, Arriving] = {}
        self._sending: dict[TConn, tuple[Future[Any], float, int]] = {}  # what came of it, since when, bytes sent
        self._leaving: dict[TConn, float] = {}  # until when
        self._last: set[TConn] = set()  # their answer is the last
        self._turns: dict[TConn, tuple[float, bool]] = {}  # who waits, in turn: since when, and if for a prediction
        self._turns_guard = threading.Lock()
        self._swept = 0.0

    # --- Arrive

    def accept(self, listener: socket.socket) -> None:
        """A new connection."""
        try:
            accepted, address = listener.accept()
        except OSError as error:
            if error.errno not in _PASSING:
                raise
            return
        self.nr_conns += 1
        self.enqueue_req(TConn(self.cfg, Line.of(accepted, self._budget), address, listener.getsockname()))

    def enqueue_req(self, conn: TConn) -> None:
        """A request is on its way: a thread gets it once it is whole."""
        conn.init()
        conn.data_ready = True
        conn.sock.setblocking(False)
        arriving = self._arriving[conn] = Arriving()
        begun = conn.parser.unreader.take_buffered()
        if begun:
            arriving.add(begun)
            self._budget.add(len(arriving.data))
        if arriving.is_whole:
            self._hand_over(conn)
        else:
            self._take_in(conn)

    def _take_in(self, conn: TConn) -> None:
        arriving = self._arriving[conn]
        try:
            more = conn.sock.arrived()
        except OSError:
            self._drop(conn)
            return
        if more is None:
            self._watch_for_more(conn, arriving)
            return
        if not more and not arriving.data:
            self._drop(conn)
            return
        before = len(arriving.data)
        arriving.add(more)
        self._budget.add(len(arriving.data) - before)
        if not more or arriving.is_whole:
            arriving.is_broken |= not more
            self._hand_over(conn)
        else:
            self._watch_for_more(conn, arriving)
            self._go_on(conn, arriving)

    def _watch_for_more(self, conn: TConn, arriving: Arriving) -> None:
        if not arriving.is_watched:
            arriving.is_watched = True
            self._watch(conn, selectors.EVENT_READ, self._take_in)

    def _go_on(self, conn: TConn, arriving: Arriving) -> None:
        """Wait for more of it, unless it is too much."""
        if arriving.head is None and len(arriving.data) > HEAD:
            self._refuse(conn, _TOO_LONG)
        elif len(arriving.data) > SMALL and self._budget.is_spent:
            self._refuse(conn, _BUSY)
        elif arriving.waits_for_leave:
            arriving.waits_for_leave = False
            conn.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _hand_over(self, conn: TConn) -> None:
        is_prediction = self._arriving[conn].data.startswith(_PREDICTION)
        if is_prediction and self._waits_long():
            self._refuse(conn, _COME_AGAIN)
            _count_refusal()
            return
        arriving = self._forget(conn)
        if arriving.is_last:
            self._last.add(conn)
        conn.parser.unreader.unread(bytes(arriving.data))
        with self._turns_guard:
            self._turns[conn] = time.monotonic(), is_prediction
        super().enqueue_req(conn)

    def _waits_long(self) -> bool:
        with self._turns_guard:
            since, _ = next(iter(self._turns.values()), (math.inf, False))
        return time.monotonic() - since > TURN

    def handle(self, conn: TConn) -> Any:
        """In a thread: it is its turn."""
        with self._turns_guard:
            since, is_prediction = self._turns.pop(conn)
        if is_prediction and time.monotonic() - since > LATE:
            conn.sock.sendall(_COME_AGAIN)
            _count_refusal()
            return False
        return super().handle(conn)

    def _refuse(self, conn: TConn, answer: bytes) -> None:
        self._forget(conn)
        try:
            conn.sock.sendall(answer)
        except OSError:
            self._close(conn)
            return
        self._leave(conn)

    def _forget(self, conn: TConn) -> Arriving:
        arriving = self._arriving.pop(conn)
        if arriving.is_watched:
            self._unwatch(conn)
        self._budget.add(-len(arriving.data))
        return arriving

    # --- Send

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        """A thread is done with it; what the client has not taken yet is sent as it does."""
        if conn.sock.fileno() < 0:  # gunicorn closed it, for the answer broke off
            self._close(conn)
            return
        if not conn.sock.unsent:
            self._finished(conn, fs)
            return
        conn.sock.setblocking(False)
        self._sending[conn] = fs, time.monotonic(), 0
        self._watch(conn, selectors.EVENT_WRITE, self._send_on)

    def _send_on(self, conn: TConn) -> None:
        done, began, sent = self._sending[conn]
        try:
            sent += conn.sock.flush()
        except OSError:
            self._drop(conn)
            return
        if conn.sock.unsent:
            self._sending[conn] = done, began, sent
            return
        self._unwatch(conn)
        del self._sending[conn]
        self._finished(conn, done)

    def _finished(self, conn: TConn, fs: Future[Any]) -> None:
        stays = not fs.cancelled() and fs.exception() is None and fs.result() and conn not in self._last
        self._last.discard(conn)
        if stays:
            super().finish_request(conn, fs)
        else:
            self._leave(conn)

    # --- Leave

    def _leave(self, conn: TConn) -> None:
        """Close it once the client has, or soon: what lies unread when a connection is closed costs it the answer."""
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)
            return
        self._leaving[conn] = time.monotonic() + LINGER
        self._watch(conn, selectors.EVENT_READ, self._read_off)

    def _read_off(self, conn: TConn) -> None:
        try:
            more = conn.sock.arrived()
        except OSError:
            more = b""
        if more == b"":
            self._drop(conn)

    def murder_pending(self) -> None:
        """Leave those that are too slow. It is called each time the loop comes round."""
        super().murder_pending()
        now = time.monotonic()
        if now - self._swept < SWEPT_EVERY:
            return
        self._swept = now
        late = [conn for conn, each in self._arriving.items() if each.deadline < now or self._may_go(each)]
        late += [conn for conn, (_, began, sent) in self._sending.items() if _deadline(began, sent) < now]
        late += [conn for conn, until in self._leaving.items() if until < now]
        for conn in late:
            self._drop(conn)

    def _may_go(self, arriving: Arriving) -> bool:
        """Whether the worker ends and nothing of a request has come yet."""
        return not self.alive and not arriving.data

    def _drop(self, conn: TConn) -> None:
        if conn in self._arriving:
            self._forget(conn)
        else:
            self._unwatch(conn)
        self._sending.pop(conn, None)
        self._leaving.pop(conn, None)
        self._close(conn)

    def _close(self, conn: TConn) -> None:
        self._last.discard(conn)
        conn.sock.forget()
        conn.close()
        self.nr_conns -= 1

    # --- The loop

    def _watch(self, conn: TConn, events: int, then: Callable[[TConn], None]) -> None:
        self.poller.register(conn.sock, events, partial(_call, then, conn))

    def _unwatch(self, conn: TConn) -> None:
        self.poller.unregister(conn.sock)


def _count_refusal() -> None:
    from letters import metrics  # in a process that serves, where Django is set up

    metrics.prediction("", "inference_unavailable", 0.0)


def _call(then: Callable[[TConn], None], conn: TConn, _line: socket.socket) -> None:
    then(conn)
