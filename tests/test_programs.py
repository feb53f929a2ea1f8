"""Programs in a site are as good as a fresh `python -c`, but for the time that it takes to start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.programs import ROOT, Programs
from tests.running import wait_for

SETTINGS = {"DJANGO_SETTINGS_MODULE": "webapp.settings", "SECRET_KEY": "of-a-test"}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    """Those of a site whose database holds nothing."""
    with Programs(os.environ | SETTINGS | {"VAR_DIR": str(tmp_path_factory.mktemp("var"))}) as found:
        yield found


def said(programs: Programs, code: str) -> str:
    """What a program printed that ended well."""
    done = programs.run(code, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_it_works(programs: Programs) -> None:
    """With the settings of its site, in the folder of the project."""
    code = "import os; from django.conf import settings; print(settings.SECRET_KEY, os.getcwd(), __name__)"
    assert said(programs, code) == f"of-a-test {ROOT} __main__\n"


def test_each_begins_anew(programs: Programs) -> None:
    first = said(programs, "import os, django; django.left = left = 1; print(os.getpid())")
    second = said(programs, "import os, django; print(os.getpid(), hasattr(django, 'left'), 'left' in globals())")
    assert second.split()[0] != first.strip()
    assert second.split()[1:] == ["False", "False"]


def test_what_one_program_wrote_the_next_one_reads(programs: Programs) -> None:
    ask = "from django.db import connection\nwith connection.cursor() as cursor: "
    said(programs, ask + "cursor.execute('CREATE TABLE kept (number integer)')")
    said(programs, ask + "cursor.execute('INSERT INTO kept VALUES (7)')")
    assert said(programs, ask + "print(cursor.execute('SELECT number FROM kept').fetchall())") == "[(7,)]\n"


def test_one_that_fails_says_why(programs: Programs) -> None:
    done = programs.run("print('so far'); 1 / 0", timeout=60)
    assert (done.returncode, done.stdout) == (1, "so far\n")
    assert "ZeroDivisionError" in done.stderr
    assert programs.run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", timeout=60).returncode == -9


def test_one_that_hangs_is_ended_and_the_next_one_runs(programs: Programs, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = f"import os, signal, pathlib; pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); signal.pause()"
    said(programs, "")  # it is loaded: the time below is the program's own
    with pytest.raises(TimeoutError, match=r"not within 5 s:\nimport os"):
        programs.run(code, timeout=5)
    wait_for(lambda: gone(int(pid.read_text())), "it is gone", 10)
    assert said(programs, "print(1)") == "1\n"


def gone(pid: int) -> bool:
    """Also where nobody has asked yet how it ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
