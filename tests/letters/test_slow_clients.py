"""Clients that send slowly, read slowly or not at all: far more of them than threads, and others are served at once."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from tests.letters.visitor import CANVAS, Visitor, Z
from tests.running import Site, running_site, wait_for
from webapp.worker import BODY, HEAD, HELD, PATIENCE, SMALL, Arriving, Budget, Chunks, Line

THREADS = 2
CROWD = 40  # twenty times as many
AT_ONCE = 5.0  # seconds; it takes some milliseconds where a thread is free
BODY_OF_A_DRAWING = json.dumps({"strokes": Z, "canvas": CANVAS}).encode()
HEADERS = b"Host: localhost\r\nContent-Type: application/json\r\n"
PREDICT = b"POST /api/v1/predictions HTTP/1.1\r\n" + HEADERS


@pytest.fixture(scope="module")
def narrow(request: pytest.FixtureRequest) -> Iterator[Site]:
    """A site whose web server has one process with two threads."""
    with running_site(threads=THREADS, processes=1) as started:
        yield started


def line_to(site: Site, *, reads: int = 0) -> socket.socket:
    """A connection; `reads`: bytes that its client's system takes in before it does."""
    line = socket.socket()
    if reads:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, reads)
    line.settimeout(60)
    host, _, port = site.base_url.removeprefix("http://").partition(":")
    line.connect((host, int(port)))
    return line


def read_until(line: socket.socket, mark: bytes) -> bytes:
    """What comes, up to these bytes and perhaps some more."""
    taken = b""
    while mark not in taken:
        more = line.recv(65_536)
        assert more, taken
        taken += more
    return taken


def answer(line: socket.socket) -> bytes:
    """All that comes until one answer is whole."""
    head, _, body = read_until(line, b"\r\n\r\n").partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    while len(body) < length:
        more = line.recv(65_536)
        assert more, body
        body += more
    return head + b"\r\n\r\n" + body[:length]


def is_left(line: socket.socket) -> bool:
    """Whether the server has closed the connection."""
    line.settimeout(0.01)
    try:
        return line.recv(65_536) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def served_at_once(site: Site) -> None:
    """Others get a page, and a drawing is read."""
    with Visitor(site) as visitor:
        for _ in range(5):
            began = time.monotonic()
            assert visitor.get("/healthz").status_code == 200
            assert time.monotonic() - began < AT_ONCE
        assert visitor.predict()["label"] == "Z"


SLOW = {
    "say nothing": b"",
    "end their lines short": b"GET / HTTP/1.1\nHost: localhost\n\n",  # a head for us, and none for gunicorn
    "stop in the head": b"GET / HTTP/1.1\r\nHost: local",
    "stop in the body": PREDICT + b"Content-Length: 1000\r\n\r\n" + BODY_OF_A_DRAWING[:20],
    "stop in a chunk": PREDICT + b"Transfer-Encoding: chunked\r\n\r\n100\r\n{",
    "stop between chunks": PREDICT + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    "stop in a body that is too large": PREDICT + b"Content-Length: 30000000\r\n\r\n" + b"x" * 1000,
}


@pytest.mark.long
def test_it_works(narrow: Site) -> None:
    """Each kind of slow client, and all of them are left in the end."""
    with contextlib.ExitStack() as stack:
        crowd = {how: [stack.enter_context(line_to(narrow)) for _ in range(CROWD)] for how in SLOW}
        for how, lines in crowd.items():
            for line in lines:
                line.sendall(SLOW[how])
        served_at_once(narrow)
        began = time.monotonic()
        for how, lines in crowd.items():
            while time.monotonic() - began < PATIENCE / 2:  # a byte now and then makes nobody welcome
                for line in lines:
                    with contextlib.suppress(OSError):
                        line.sendall(b"x")
                break
            wait_for(lambda lines=lines: all(map(is_left, lines)), f"those that {how} are left", 2 * PATIENCE)
    served_at_once(narrow)


@pytest.mark.long
def test_who_does_not_read_holds_no_thread(narrow: Site) -> None:
    """Megabytes of answers, each larger than what is kept for anybody, to clients that take none of them."""
    large = "/static/admin/js/vendor/jquery/jquery.js"
    assert SMALL < len(requests.get(narrow.base_url + large, timeout=60).content) < HELD
    ask = f"GET {large} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(line_to(narrow, reads=4096)) for _ in range(8 * THREADS)]
        for line in crowd:
            line.sendall(100 * ask)
        served_at_once(narrow)
        wait_for(lambda: served_at_once(narrow) or all(map(_was_reset, crowd)), "they are left", 4 * PATIENCE)


def _was_reset(line: socket.socket) -> bool:
    """Whether the server has given up; what it had sent before is still to be read."""
    line.settimeout(0.01)
    try:
        return line.send(b"x") == 0
    except TimeoutError:
        return False
    except OSError:
        return True


# --- Who is slow, and honest -----------------------------------------------------------------------------------------


def test_a_drawing_that_comes_in_pieces_is_read(narrow: Site) -> None:
    whole = PREDICT + b"Content-Length: %d\r\n\r\n" % len(BODY_OF_A_DRAWING) + BODY_OF_A_DRAWING
    with line_to(narrow) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(whole), 7):
            line.sendall(whole[at : at + 7])
        assert b" 200 OK" in answer(line).split(b"\r\n")[0]


def test_a_large_answer_reaches_who_reads_slowly(narrow: Site) -> None:
    expected = requests.get(narrow.base_url + "/api/v1/schema/", timeout=60).content
    with line_to(narrow, reads=4096) as line:
        line.sendall(b"GET /api/v1/schema/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer(line).partition(b"\r\n\r\n")[2] == expected


def test_requests_that_come_at_once_are_answered_in_turn(narrow: Site) -> None:
    first = PREDICT + b"Content-Length: %d\r\n\r\n" % len(BODY_OF_A_DRAWING) + BODY_OF_A_DRAWING
    with line_to(narrow) as line:
        line.sendall(first + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /no")
        taken = read_until(line, b'{"status"')
        line.sendall(b"thing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        while more := line.recv(65_536):
            taken += more
    assert [int(each[:3]) for each in taken.split(b"HTTP/1.1 ")[1:]] == [200, 200, 404]


def test_a_client_may_ask_before_it_sends(narrow: Site) -> None:
    with line_to(narrow) as line:
        line.sendall(PREDICT + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY_OF_A_DRAWING))
        assert line.recv(65_536).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        line.sendall(BODY_OF_A_DRAWING)
        taken = read_until(line, b'"token"')
        assert b"HTTP/1.1 200 OK" in taken


def test_a_head_without_end_is_refused(narrow: Site) -> None:
    with line_to(narrow) as line, contextlib.suppress(ConnectionError):
        line.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * (HEAD + 65_536))
        assert b" 431 " in line.recv(65_536).split(b"\r\n")[0]


def test_to_a_thread_it_looks_as_if_all_had_been_sent() -> None:
    """Should gunicorn ever want more of a request than was waited for, it finds its end, and waits for nobody."""
    ours, theirs = socket.socketpair()
    with Line.of(ours, Budget()) as line, theirs:
        line.settimeout(1)
        assert line.recv(10) == b""
        theirs.sendall(b"more")
        assert line.recv(10) == b""
        line.setblocking(False)
        assert (line.arrived(), line.arrived()) == (b"more", None)


def test_an_answer_that_is_not_taken_waits_without_a_thread() -> None:
    ours, theirs = socket.socketpair()
    with Line.of(ours, Budget()) as line, theirs:
        line.sendall(bytes(HELD))  # which returns, though its client takes nothing
        assert SMALL < len(line.unsent) < HELD
        taken = 0
        while line.unsent:
            taken += len(theirs.recv(65_536))
            line.flush()
        theirs.settimeout(0.01)
        with contextlib.suppress(TimeoutError):
            while more := theirs.recv(65_536):
                taken += len(more)
    assert taken == HELD


# --- Where a request ends --------------------------------------------------------------------------------------------


def chunked(parts: list[bytes]) -> bytes:
    return b"".join(b"%x;note=1\r\n%s\r\n" % (len(each), each) for each in parts) + b"0\r\nTrailer: 1\r\n\r\n"


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.lists(st.integers(0, 300), max_size=10))
def test_the_end_of_chunks_is_found_however_they_arrive(parts: list[bytes], cuts: list[int]) -> None:
    body = chunked(parts)
    ends = sorted({min(cut, len(body)) for cut in cuts} | {0, len(body)})
    chunks = Chunks()
    for start, end in pairwise(ends):
        assert not chunks.is_over
        chunks.feed(body[start:end])
    assert chunks.is_over
    assert chunks.size == sum(map(len, parts))


@pytest.mark.parametrize("line", [b"x\r\n", b"-1\r\n", b"\r\n", b"1" * 70_000], ids=lambda line: repr(line[:6]))
def test_what_is_no_chunk(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"chunk|line|literal"):
        Chunks().feed(line)


@given(st.integers(1, 2_000), st.booleans())
def test_a_request_is_whole_with_its_last_byte(cut: int, is_chunked: bool) -> None:
    how = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: 500"
    request = PREDICT + how + b"\r\n\r\n" + (chunked([b"y" * 400]) if is_chunked else b"y" * 500)
    arriving, cut = Arriving(), min(cut, len(request) - 1)
    arriving.add(request[:cut])
    assert not arriving.is_whole
    arriving.add(request[cut:])
    assert arriving.is_whole
    assert not arriving.is_last
    assert bytes(arriving.data) == request


@pytest.mark.parametrize("is_chunked", [False, True])
def test_of_what_is_too_large_no_more_is_kept_than_shows_it(is_chunked: bool) -> None:
    size = 5 * BODY
    how = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % size
    request = PREDICT + how + b"\r\n\r\n" + (chunked([b"y" * size]) if is_chunked else b"y" * size)
    arriving = Arriving()
    for at in range(0, len(request), 65_536):
        assert not arriving.is_whole
        arriving.add(request[at : at + 65_536])
    assert arriving.is_whole
    assert arriving.is_last
    assert BODY < len(arriving.data) < BODY + 256 * 1024
