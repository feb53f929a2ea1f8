"""Programs in a site without the two seconds that Python and Django take to start: each is a fork of one that has.

    with Programs(env) as programs:
        done = programs.run("print(1)", timeout=10)

A program finds what a fresh `python -c` would: globals of its own, no connection to a database, no thread, the working
folder of the project. What it changes ends with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from letters.embedded import end_with_parent

ROOT = Path(__file__).resolve().parent.parent


class Programs:
    """Runs programs one after the other, whoever asks."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = dict(env)
        self._turn = threading.Lock()
        self._server: subprocess.Popen[str] | None = None

    def __enter__(self) -> Programs:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def run(self, code: str, timeout: float) -> subprocess.CompletedProcess[str]:
        """What became of a program. Raises TimeoutError where it takes longer, and it is ended."""
        with self._turn, tempfile.TemporaryDirectory(prefix="letterloop-program-") as folder:
            output, errors = Path(folder) / "output", Path(folder) / "errors"
            returncode = self._ask({"code": code, "output": str(output), "errors": str(errors)}, timeout)
            return subprocess.CompletedProcess(code, returncode, output.read_text(), errors.read_text())

    def _ask(self, program: dict[str, str], timeout: float) -> int:
        server = self._server = self._server or self._start()
        assert server.stdin
        assert server.stdout
        server.stdin.write(json.dumps(program) + "\n")
        server.stdin.flush()
        if not select.select([server.stdout], [], [], timeout)[0]:
            self.end()
            raise TimeoutError(f"not within {timeout:.0f} s:\n{program['code']}")
        return int(server.stdout.readline())

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.programs"],
            cwd=ROOT,
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )

    def end(self) -> None:
        """End what runs; the next program begins anew."""
        server, self._server = self._server, None
        if server is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.communicate()


def serve() -> None:
    """Fork for each line of standard input, and say how the fork ended."""
    import django

    django.setup()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a line that a library writes is no answer
    for line in sys.stdin:
        program = json.loads(line)
        pid = os.fork()
        if not pid:
            os._exit(_run(program))
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


def _run(program: dict[str, str]) -> int:
    """The exit code of a program, in a process of its own."""
    for number, path in ((0, os.devnull), (1, program["output"]), (2, program["errors"])):
        os.dup2(os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT), number)
    try:
        return _code_of(program["code"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _code_of(code: str) -> int:
    from django.db import connections

    names: dict[str, Any] = {"__name__": "__main__"}
    try:
        exec(compile(code, "<program>", "exec"), names)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        connections.close_all()
    return 0


if __name__ == "__main__":
    serve()
