"""A stretch of network that can break: a TCP proxy on the loopback which passes all on, or less than that."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator

CHUNK = 65_536


class Proxy:
    """Between clients, who are told `port`, and a server. `delay` is of each piece on its way back, in seconds."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        self.delay = 0.0
        self._flows = threading.Event()
        self._flows.set()
        self._ended = threading.Event()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def partition(self) -> None:
        """From now on nothing arrives, and nobody is told: connections stay open, no byte passes."""
        self._flows.clear()

    def heal(self) -> None:
        """All flows again, what was held back first."""
        self._flows.set()

    def cut(self) -> None:
        """Close the connections that there are; new ones can be made."""
        for pair in list(self._pairs):
            for each in pair:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def redirected(self, port: int) -> Iterator[None]:
        """For a while, to another server."""
        before, self._target = self._target, port
        self.cut()
        yield
        self._target = before
        self.cut()

    def close(self) -> None:
        """End it."""
        self._ended.set()
        self._flows.set()
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._flows.wait()
        try:
            server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        self._pairs.append((client, server))
        try:
            self._pass_on(client, server)
        except OSError:
            pass  # one of them hung up
        finally:
            self._pairs.remove((client, server))
            client.close()
            server.close()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        while not self._ended.is_set():
            for source in select.select([client, server], [], [], 1.0)[0]:
                chunk = source.recv(CHUNK)
                self._flows.wait()
                if not chunk:
                    return
                if source is server and self.delay:
                    time.sleep(self.delay)
                (server if source is client else client).sendall(chunk)


@contextlib.contextmanager
def between(target: int) -> Iterator[Proxy]:
    """A proxy before a port of this machine."""
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
