"""What the Dockerfile and compose.yaml do, without Docker: for machines, and tests, where no daemon runs.

    DATABASE_URL=postgres://... REDIS_URL=redis://... python -m scripts.rehearse_image

The files that .dockerignore lets through are laid into a folder that nobody may write to, what the Dockerfile installs
is installed, static files are collected, and each role of compose.yaml runs by its own command, as a user who owns
nothing, with private folders for what it writes. A letter is read and kept; what each role takes of memory is printed.
The database is to be an empty one.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import requests
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
NOBODY = 65534  # who owns nothing, on every Linux
HOST = "letters.example.org"
ROLES = ("web", "worker", "beat", "trainer")
WRITABLE = ("cache", "media", "runs")
PATIENCE = 120.0  # seconds
Z = [[[60, 40], [140, 40], [60, 160], [140, 160]]]


class RehearsalError(Exception):
    """A step did not go as in the image it should; says which, and what it said."""


# --- What the image holds ------------------------------------------------------------------------------------------


def context() -> list[str]:
    """The files of the checkout that .dockerignore lets through."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True)
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return [
        name for name in listed.stdout.decode().splitlines() if (ROOT / name).is_file() and _let_through(name, rules)
    ]


def _let_through(name: str, rules: list[str]) -> bool:
    """The last rule that fits decides; one that fits a folder fits all that is in it."""
    parts = name.split("/")
    above = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    through = True
    for rule in rules:
        pattern = rule.removeprefix("!")
        deep = pattern.startswith("**/")
        tried = [part for each in above for part in ([each.split("/")[-1]] if deep else [each])]
        if any(_fits(each, pattern.removeprefix("**/")) for each in tried):
            through = rule.startswith("!")
    return through


def _fits(name: str, pattern: str) -> bool:
    return name.count("/") == pattern.count("/") and fnmatch.fnmatchcase(name, pattern)


def installs() -> dict[str, list[str]]:
    """By requirements file, what the Dockerfile hands to pip."""
    found = re.findall(r"pip install ((?:[^\n&|]|\\\n)+)", (ROOT / "Dockerfile").read_text())
    commands = [each.replace("\\\n", " ").split() for each in found]
    return {command[-1]: command for command in commands}


def installed(folder: Path, *files: str) -> Path:
    """A new environment with what the Dockerfile installs of these."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    for name in files:
        subprocess.run([str(folder / "bin" / "pip"), "install", "--quiet", *installs()[name]], cwd=ROOT, check=True)
    return folder


def linked(folder: Path, file: str) -> Path:
    """The same of links to what this environment has of a requirements file and of what that needs: in a second."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    for distribution in _closure(_requirements(ROOT / file)):
        for path in distribution.files or []:
            place = Path(str(distribution.locate_file(path)))
            if ".." not in path.parts and (first := packages / path.parts[0]) and not first.exists():
                first.symlink_to(place.parents[len(path.parts) - 2] if len(path.parts) > 1 else place)
            elif path.parts[0] == ".." and place.resolve().parent == Path(sys.executable).parent:
                _copy_script(place.resolve(), folder / "bin")
    return folder


def _copy_script(script: Path, folder: Path) -> None:
    """Its first line names the Python that runs it."""
    text = script.read_bytes()
    if text.startswith(b"#!"):
        (folder / script.name).write_bytes(b"#!" + str(folder / "python").encode() + text[text.index(b"\n") :])
        (folder / script.name).chmod(0o755)


def _requirements(file: Path) -> list[Requirement]:
    lines = (line.split("#")[0].strip() for line in file.read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def _closure(wanted: list[Requirement]) -> list[metadata.Distribution]:
    """What these need, and what that needs in turn, on this machine."""
    found: dict[str, metadata.Distribution] = {}
    asked: set[tuple[str, frozenset[str]]] = set()
    waiting = [(each, frozenset[str]()) for each in wanted]  # with the extras that it was asked under
    while waiting:
        each, under = waiting.pop()
        key = (each.name, frozenset(each.extras))
        applies = not each.marker or any(each.marker.evaluate({"extra": extra}) for extra in under | {""})
        if key in asked or not applies:
            continue
        asked.add(key)
        found[each.name] = metadata.distribution(each.name)
        waiting += [(Requirement(line), frozenset(each.extras)) for line in found[each.name].requires or []]
    return list(found.values())


# --- What runs in it -----------------------------------------------------------------------------------------------


class Image:
    """The code and the folders as they are in the image; `environments` by the target of the Dockerfile."""

    def __init__(self, folder: Path, environments: Mapping[str, Path]) -> None:
        self.code, self.var = folder / "srv" / "letterloop", folder / "var" / "lib" / "letterloop"
        self.environments = environments
        self.as_user, self.user = _somebody(environments["serve"] / "bin" / "python")
        for name in context():
            (self.code / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.code / name)
        self._collect_static(folder / "build")
        for name in WRITABLE:
            (self.var / name).mkdir()
            if self.user != os.geteuid():
                os.chown(self.var / name, self.user, self.user)
        for path in (self.code, self.var / "static"):
            _forbid_writing(path)
        for path in (folder, *self.var.parents, *self.code.parents):
            if folder in (path, *path.parents):
                path.chmod(0o755)
        self.var.chmod(0o555)

    def _collect_static(self, build: Path) -> None:
        """By the words of the Dockerfile."""
        line = next(line for line in (ROOT / "Dockerfile").read_text().splitlines() if "collectstatic" in line)
        words = line.removeprefix("RUN ").removesuffix("\\").split()
        env = dict(word.split("=", 1) for word in words if "=" in word) | {"VAR_DIR": str(build)}
        self._run([word for word in words if "=" not in word], env, self.environments["serve"])
        self.var.mkdir(parents=True)
        (build / "static").rename(self.var / "static")
        shutil.rmtree(build)

    def _run(self, command: list[str], env: dict[str, str], environment: Path) -> None:
        done = subprocess.run(
            command, cwd=self.code, env=_path(environment) | env, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RehearsalError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def _path(environment: Path) -> dict[str, str]:
    return {"PATH": f"{environment / 'bin'}:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}


def _forbid_writing(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)


class Rehearsal:
    """The services of compose.yaml, each a process group of a user who owns nothing."""

    def __init__(self, image: Image, env: Mapping[str, str], logs: Path) -> None:
        self.image, self._logs = image, logs
        self._services: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._env = dict(env)
        self._tmp = logs / "tmp"
        self._tmp.mkdir()
        self._tmp.chmod(0o1777)

    def env_of(self, service: str) -> dict[str, str]:
        """As compose.yaml sets it, with the addresses of this machine."""
        stated = {name: str(value) for name, value in self._services[service]["environment"].items()}
        own = {"VAR_DIR": str(self.image.var), "HOST": "127.0.0.1", "HOME": str(self._tmp), "TMPDIR": str(self._tmp)}
        environment = self.image.environments["all" if "all" in self._services[service]["image"] else "serve"]
        return stated | _path(environment) | own | self._env

    def release(self) -> None:
        """What must have ended well before the others start."""
        process = self._start("release")
        if process.wait(PATIENCE):
            raise RehearsalError(f"release ended with {process.returncode}\n{self.said('release')}")

    def start(self, service: str) -> None:
        """Start one that stays."""
        self.running[service] = self._start(service)

    def _start(self, service: str) -> subprocess.Popen[bytes]:
        command = self._services[service]["command"]
        words = command.split() if isinstance(command, str) else command
        with (self._logs / service).open("ab") as log:
            return subprocess.Popen(
                [*self.image.as_user, *words],
                cwd=self.image.code,
                env=self.env_of(service),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def said(self, service: str) -> str:
        return (self._logs / service).read_text(errors="replace")

    def check_health(self) -> str:
        """The image's own health check, until it is content."""
        return self._until_well("web", ["python", "deploy/healthcheck.py", "/readyz"])

    def _until_well(self, service: str, command: list[str]) -> str:
        """What a service's health check says once it is content; Docker asks again, too, while one starts."""
        deadline = time.monotonic() + PATIENCE
        while True:
            done = subprocess.run(
                [*self.image.as_user, *command],
                cwd=self.image.code,
                env=self.env_of(service),
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE,
            )
            if done.returncode == 0:
                return done.stdout
            for name, process in self.running.items():
                if process.poll() is not None:
                    raise RehearsalError(f"{name} ended with {process.returncode}\n{self.said(name)}")
            if time.monotonic() > deadline:
                raise RehearsalError(f"{service} is not well: {done.stdout}{done.stderr}\n{self.said(service)}")
            time.sleep(0.1)

    def draw(self) -> dict[str, Any]:
        """A Z, read and kept, as the proxy hands it on: what the site answered to it."""
        headers = {"Host": HOST, "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7"}
        body: dict[str, Any] = {"strokes": Z, "canvas": {"width": 200, "height": 200}}
        url = f"http://127.0.0.1:{self._env['PORT']}/api/v1"
        with requests.Session() as session:
            session.trust_env = False
            read = session.post(f"{url}/predictions", json=body, headers=headers, timeout=30)
            if read.status_code != 200:
                raise RehearsalError(f"no prediction: {read.status_code} {read.text}")
            body |= {"character": "Z", "consent": True, "token": read.json()["token"]}
            kept = session.post(f"{url}/drawings", json=body, headers=headers, timeout=30)
            if kept.status_code != 201:
                raise RehearsalError(f"not kept: {kept.status_code} {kept.text}")
        return {"label": read.json()["label"], "id": kept.json()["id"]}

    def get(self, path: str) -> requests.Response:
        """A page, as the proxy asks for it."""
        headers = {"Host": HOST, "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7"}
        with requests.Session() as session:
            session.trust_env = False
            url = f"http://127.0.0.1:{self._env['PORT']}{path}"
            return session.get(url, headers=headers, timeout=30, allow_redirects=False)

    def ping(self, service: str) -> str:
        """What its health check in compose.yaml says once it is well."""
        kind, script = self._services[service]["healthcheck"]["test"]
        if kind != "CMD-SHELL":
            raise RehearsalError(f"the health check of {service} is no CMD-SHELL")
        return self._until_well(service, ["sh", "-c", script.replace("$$", "$")])

    def memory(self) -> dict[str, float]:
        """MB of each role, shared pages counted by their share."""
        found = {}
        for name, process in self.running.items():
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            found[name] = sum(each.memory_full_info().pss for each in family) / 1e6
        return found

    def rights(self) -> set[tuple[int, int]]:
        """Of all that runs: user, and capabilities as a number."""
        found = set()
        for process in self.running.values():
            for each in (psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)):
                status = Path(f"/proc/{each.pid}/status").read_text()
                found.add((each.uids().effective, int(re.findall(r"CapEff:\s*(\w+)", status)[0], 16)))
        return found

    def end(self) -> None:
        """SIGTERM to each, as `docker stop` does, and wait."""
        for process in self.running.values():
            process.terminate()
        for name, process in self.running.items():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                raise RehearsalError(f"{name} did not end within 30 s") from None
        self.running = {}


WITHOUT_RIGHTS = ["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
USERS = (  # of root's choice, the first who can reach the Python: one that lies in root's home only root can
    (["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", *WITHOUT_RIGHTS], NOBODY),
    (["setpriv", *WITHOUT_RIGHTS], 0),
)


def _somebody(python: Path) -> tuple[list[str], int]:
    """How to start a program as a user without rights over others' files, and that user's id."""
    if os.geteuid() != 0:
        return [], os.geteuid()
    for command, user in USERS:
        tried = subprocess.run([*command, "sh", "-c", f"{python} -c ''"], capture_output=True, check=False)
        if tried.returncode == 0:
            return command, user
    raise RehearsalError(f"no user without rights can run {python}")


@contextlib.contextmanager
def rehearsal(folder: Path, environments: Mapping[str, Path], env: Mapping[str, str]) -> Iterator[Rehearsal]:
    """One that ends with the block. `env`: at least DATABASE_URL and REDIS_URL."""
    (folder / "logs").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    own = {"SECRET_KEY": secrets.token_urlsafe(50), "ALLOWED_HOSTS": HOST, "PORT": port}
    running = Rehearsal(Image(folder, environments), own | dict(env), folder / "logs")
    try:
        yield running
    finally:
        running.end()


def main() -> None:
    """The command line."""
    env = {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL") if name in os.environ}
    if len(env) < 2:
        sys.exit("set DATABASE_URL to an empty PostgreSQL database, and REDIS_URL")
    with tempfile.TemporaryDirectory(prefix="letterloop-image-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        environments = {
            "serve": installed(folder / "serve", "requirements-serve.txt"),
            "all": installed(folder / "all", "requirements-serve.txt", "requirements.txt"),
        }
        for target, path in environments.items():
            print(f"{target}: {_size(path):,.0f} MB, {_compressed(path):,.0f} MB compressed")
        with rehearsal(folder, environments, env) as site:
            site.release()
            for role in ROLES:
                site.start(role)
            print(site.check_health())
            print(site.draw())
            print(
                {name: f"{mb:.0f} MB" for name, mb in site.memory().items()}, "as user and with rights", site.rights()
            )


def _size(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / 1e6


def _compressed(folder: Path) -> float:
    """As a registry keeps a layer: tar and gzip."""
    packed = subprocess.run(f"tar c -C {shlex.quote(str(folder))} . | gzip -6 | wc -c", shell=True, capture_output=True)  # noqa: S602
    return int(packed.stdout) / 1e6


if __name__ == "__main__":
    main()
