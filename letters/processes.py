"""Run the processes of the Procfile together: one ends, all end. Plain Python: no settings are read here."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing import Queue
from typing import Any

from honcho.manager import Manager
from honcho.printer import Printer
from honcho.process import Process

from letters.embedded import end_with_parent

GRACE = 12.0  # seconds from SIGTERM to SIGKILL: a request or a prediction in work is finished, a training is not
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Service(Process):
    """One line of the Procfile in a session of its own, watched by a small process of ours.

    What it started ends with it, and it ends when the process that made this object dies, however that happened.
    """

    def __init__(self, cmd: str, **options: Any) -> None:
        super().__init__(f"exec {cmd}", **options)  # no shell in between that would keep a signal to itself
        self._parent = os.getpid()

    def run(self, events: Queue[Any] | None = None, ignore_signals: bool = False) -> None:
        """Start it, pass its lines on as events, and return when it and all of its group are gone."""
        self._events = events
        child = self._child_ctor(self.cmd, env=self.env, cwd=self.cwd, preexec_fn=end_with_parent)
        self._send_message({"pid": child.pid}, type="start")
        for number in SIGNALS:  # they are for the supervisor, which then tells the service
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        threading.Thread(target=self._watch, args=(child,), daemon=True).start()
        for line in iter(child.stdout.readline, b""):
            self._send_message(line)
        child.wait()
        _signal_group(child.pid, signal.SIGKILL)
        self._send_message({"returncode": child.returncode}, type="stop")

    def _watch(self, child: subprocess.Popen[bytes]) -> None:
        while child.poll() is None:
            if os.getppid() != self._parent:
                _end(child)
                os._exit(1)  # nobody reads our events any more
            time.sleep(0.25)
        _signal_group(child.pid, signal.SIGKILL)  # a grandchild would hold the pipe open


class Supervisor(Manager):
    """honcho's manager, which here also ends in order, whoever dies first."""

    def __init__(self, *, on_started: Callable[[], None], still_wanted: Callable[[], str], output: Any = None) -> None:
        """`still_wanted` is asked now and then, and says why all must end, or nothing."""
        super().__init__(Printer(output or sys.stdout))
        self._process_ctor = Service
        self._on_started = on_started
        self._still_wanted = still_wanted
        self._asked: str = ""
        self._ending_since: float | None = None
        self.failed = ""

    def loop(self) -> None:
        """Run all until a signal comes, one of them ends or `still_wanted` objects; `failed` says what went wrong."""
        for number in SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # ignored: nohup
                signal.signal(number, self._ask_to_end)
        try:
            self._start()
            self._on_started()
            while self._running():
                self._take_event()
                self._notice_the_dead()
                self._end_if_due()
            while self._take_event(wait=0.01):
                pass
        finally:
            self.kill()

    def _start(self) -> None:
        """A signal in the midst of a fork would run our handler in the child as well: it waits."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            super()._start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _ask_to_end(self, number: int, frame: object) -> None:
        if self._asked and number == signal.SIGINT:
            self._ending_since = float("-inf")  # asked twice: at once
        self._asked = signal.Signals(number).name

    def _running(self) -> list[str]:
        return [name for name, process in self._processes.items() if "returncode" not in process]

    def _take_event(self, wait: float = 0.1) -> bool:
        try:
            event = self.events.get(timeout=wait)
        except queue.Empty:
            return False
        process = self._processes[event.name]
        if event.type == "line":
            if event.data.strip():
                self._printer.write(event)
        elif event.type == "start":
            process["pid"] = event.data["pid"]
        else:
            self._note_end(event.name, event.data["returncode"])
        return True

    def _notice_the_dead(self) -> None:
        """A watcher that was killed sends no event; what it watched is not left behind."""
        for name in self._running():
            process = self._processes[name]
            if process["process"].is_alive() or self._take_event(wait=0.05):
                continue
            if "pid" in process:
                _signal_group(process["pid"], signal.SIGKILL)
            self._note_end(name, process["process"].exitcode or 1)

    def _note_end(self, name: str, code: int) -> None:
        self._processes[name]["returncode"] = code
        if not self._asked and self._ending_since is None:
            self.failed = (
                f"{name} ended by itself ({_in_words(code)}). Its last lines are above; all others are stopped."
            )

    def _end_if_due(self) -> None:
        running = self._running()
        if self._ending_since is None:
            objection = self._still_wanted()
            self.failed = self.failed or objection
            all_told = all("pid" in self._processes[name] for name in running)
            if all_told and (self._asked or self.failed):
                self._ending_since = time.monotonic()
                self.terminate()
        elif time.monotonic() - self._ending_since > GRACE:
            self.kill()

    def _killall(self, force: bool = False) -> None:
        """Kindly to each service itself, which sees to its own; by force to all that it started."""
        for name in self._running():
            pid = self._processes[name].get("pid")
            if pid is None:
                continue
            if force:
                _signal_group(pid, signal.SIGKILL)
            else:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(GRACE)
    _signal_group(child.pid, signal.SIGKILL)


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
        os.killpg(pid, number)


def _in_words(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
