"""What deploys agrees with what it deploys: image, compose file, Procfile, proxies, systemd units, .env.example."""

from __future__ import annotations

import json
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import yaml
from compose_spec import PyOptions
from django.conf import settings
from honcho.environ import parse_procfile

from letters.embedded import find_server
from scripts.rehearse_image import context, installs
from tests.letters.visitor import CANVAS, Visitor, Z
from tests.running import Part, free_port, running_site, wait_for
from webapp.environment import READ_ELSEWHERE, Reader

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
ROLES = ("web", "worker", "trainer", "beat")
PROCFILE = dict(parse_procfile((ROOT / "Procfile").read_text()).processes)
COMPOSE_ALONE = {"SITE_ADDRESS", "POSTGRES_PASSWORD"}
NOT_FOR_A_SITE = {"DYNO", "LETTERLOOP_CHROMIUM", "LETTERLOOP_STROKES"}  # a platform sets it; tests and checks ask them
EXACT = re.compile(r"[\w./-]+:\d+(\.\d+)+(-[\w.]+)?")


def run(*command: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, env=env or None, capture_output=True, text=True, timeout=60)


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return loaded


class TestImage:
    def test_the_linter_has_nothing_to_say(self) -> None:
        done = run(str(BIN / "hadolint"), "Dockerfile")
        assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr

    def test_it_holds_what_runs_and_no_secret(self) -> None:
        held = context()
        for name in ("manage.py", "webapp/gunicorn.py", "letters/tasks.py", "ml/shipped/model.tflite", "Procfile"):
            assert name in held
        assert {name.split("/")[0] for name in held} == {
            "LICENSE", "Procfile", "manage.py", "requirements.txt", "requirements-serve.txt", "requirements-dev.txt",
            "requirements.lock", "deploy", "letters", "ml", "static", "templates", "webapp",
        }  # fmt: skip
        assert not [name for name in held if re.search(r"\.env|secret_key|sqlite|\.pyc|^deploy/(?!healthcheck)", name)]

    def test_only_pinned_things_are_installed(self) -> None:
        assert set(installs()) == {"requirements-serve.txt", "requirements.txt"}
        assert all("-c requirements.lock" in " ".join(each) for each in installs().values())
        locked = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.M))
        for name in installs():
            for line in (ROOT / name).read_text().splitlines():
                if line and not line.startswith(("#", "-r")):
                    pinned = re.fullmatch(r"([\w.-]+)(\[\w+\])?==[\w.]+( .*)?", line)
                    assert pinned, line
                    assert pinned[1].lower().replace(".", "-") in locked
        images = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.M)
        assert [each for each in images if ":" in each] == ["python:3.11.14-slim-bookworm"]

    def test_it_runs_as_nobody_in_particular(self) -> None:
        text = (ROOT / "Dockerfile").read_text()
        assert re.findall(r"^USER (\S+)", text, re.M) == ["10001:10001"]
        assert "HEALTHCHECK" in text


class TestCompose:
    def test_it_is_as_the_specification_has_it(self) -> None:
        parsed = PyOptions(apply_merge=True).from_yaml((ROOT / "compose.yaml").read_text())
        parsed.validate()
        assert set(parsed.service_names()) == {"release", *ROLES, "postgres", "redis", "proxy"}

    @pytest.mark.parametrize("role", ROLES)
    def test_each_role_runs_by_the_line_of_the_procfile(self, role: str) -> None:
        assert compose()["services"][role]["command"] == PROCFILE[role]
        assert compose()["services"]["release"]["command"][-1] == PROCFILE["release"]

    def test_only_the_proxy_is_reached_from_outside(self) -> None:
        services = compose()["services"]
        assert [name for name, service in services.items() if "ports" in service] == ["proxy"]
        assert compose()["networks"]["inside"]["internal"] is True
        assert services["postgres"]["networks"] == services["redis"]["networks"] == ["inside"]

    def test_the_site_may_write_nowhere_but_in_its_folders(self) -> None:
        for role in (*ROLES, "release"):
            service = compose()["services"][role]
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]
            assert service["stop_grace_period"] == "30s"
            folders = {each.split(":")[1] for each in service["volumes"]}
            assert folders <= {f"/var/lib/letterloop/{name}" for name in ("media", "cache", "runs")} | {"/data"}

    def test_images_of_others_are_pinned(self) -> None:
        for name in ("postgres", "redis", "proxy"):
            assert EXACT.fullmatch(compose()["services"][name]["image"])

    def test_redis_keeps_nothing_and_forgets_nothing(self) -> None:
        command = " ".join(compose()["services"]["redis"]["command"])
        for words in ("--appendonly no", "--maxmemory-policy noeviction", "--save "):
            assert words in command


class TestHeroku:
    def test_each_process_runs_by_the_line_of_the_procfile(self) -> None:
        heroku = yaml.safe_load((ROOT / "heroku.yml").read_text())
        commands = {name: each if isinstance(each, str) else each["command"][0] for name, each in heroku["run"].items()}
        assert commands == {role: PROCFILE[role] for role in ROLES}
        assert heroku["release"]["command"] == [PROCFILE["release"]]

    def test_the_app_asks_for_what_it_needs(self) -> None:
        app = json.loads((ROOT / "app.json").read_text())
        assert app["stack"] == "container"
        assert set(app["formation"]) == set(ROLES)
        assert app["env"]["SECRET_KEY"] == {
            "description": app["env"]["SECRET_KEY"]["description"],
            "generator": "secret",
        }
        assert set(app["env"]) <= settings.ENVIRONMENT_READER.names | READ_ELSEWHERE

    @pytest.mark.parametrize(
        ("dyno", "given", "used"),
        [
            ("web.1", "rediss://:p@host:6380", "rediss://:p@host:6380?ssl_cert_reqs=none"),
            ("web.1", "rediss://host:6380/0?ssl_cert_reqs=required", "rediss://host:6380/0?ssl_cert_reqs=required"),
            ("web.1", "redis://host:6379/0", "redis://host:6379/0"),
            ("", "rediss://:p@host:6380", "rediss://:p@host:6380"),
        ],
    )
    def test_its_redis_shows_a_certificate_of_its_own(self, dyno: str, given: str, used: str, tmp_path: Path) -> None:
        env = {"DYNO": dyno, "REDIS_URL": given, "VAR_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
        done = run(sys.executable, "-c", "from webapp import settings; print(settings.REDIS_URL)", **env)
        assert done.stdout.strip() == used, done.stderr


class TestPlainLinux:
    @pytest.mark.parametrize("role", ROLES)
    def test_a_unit_runs_the_line_of_the_procfile(self, role: str) -> None:
        unit = (ROOT / "deploy/systemd/letterloop@.service").read_text()
        (script,) = re.findall(r"^ExecStart=/bin/sh -c '(.*)'$", unit, re.M)
        asked = script.replace("%i", role).replace("$$", "$").replace("exec $(", "printf '%s\\n' $(")
        assert run("sh", "-c", asked).stdout.splitlines() == shlex.split(PROCFILE[role])
        assert re.search(r"^TimeoutStopSec=30$", unit, re.M)

    def test_a_command_of_the_site_is_its_own(self, tmp_path: Path) -> None:
        """systemd-run looks for it by the PATH of whoever calls, where a machine may have no python at all."""
        programs = tmp_path / ".venv/bin"
        for folder in (programs, tmp_path / "deploy"):
            folder.mkdir(parents=True)
        shutil.copy(ROOT / "deploy/as-site", tmp_path / "deploy")
        (programs / "systemd-run").write_text('#!/bin/sh\ncommand -v python\nfor each; do echo "$each"; done\n')
        (programs / "python").write_text("")
        for each in programs.iterdir():
            each.chmod(0o755)
        found, *words = run(
            str(tmp_path / "deploy/as-site"), "python", "manage.py", "a b", PATH="/bin"
        ).stdout.splitlines()
        assert found == str(programs / "python")
        assert words[-4:] == ["--", "python", "manage.py", "a b"]
        assert f"--setenv=PATH={programs}:/usr/local/bin:/usr/bin:/bin" in words
        unit = (ROOT / "deploy/systemd/letterloop@.service").read_text()
        assert {f"--setenv={each}" for each in re.findall(r"(?:LETTERLOOP_ENV|VAR_DIR|HOME)=\S+", unit)} <= set(words)

    def test_the_addresses_of_databases_that_are_shown_are_understood(self, monkeypatch: pytest.MonkeyPatch) -> None:
        shown = re.findall(r"DATABASE_URL=([^\s,`]+)", (ROOT / "docs/deploy.md").read_text())
        assert len(shown) >= 2
        for each in shown:
            monkeypatch.setenv("DATABASE_URL", each)
            assert Reader().database("DATABASE_URL", "")["NAME"] == "letterloop", each

    def test_the_proxies_let_through_what_the_site_takes(self) -> None:
        megabytes = settings.BODY_LIMIT // 2**20
        assert f"client_max_body_size {megabytes}m;" in (ROOT / "deploy/nginx.conf").read_text()
        assert f"max_size {megabytes}MiB" in (ROOT / "deploy/Caddyfile").read_text()


class TestEnvExample:
    def names(self) -> list[str]:
        return re.findall(r"^#?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.M)

    def test_it_names_every_setting_once(self) -> None:
        wanted = settings.ENVIRONMENT_READER.names | READ_ELSEWHERE | COMPOSE_ALONE | {
            "SECURE_SSL_REDIRECT", "SECURE_HSTS_SECONDS",  # asked in production alone
        }  # fmt: skip
        assert sorted(self.names()) == sorted(wanted - NOT_FOR_A_SITE)

    def test_a_copy_of_it_begins_a_site_once_its_blanks_are_filled(self, tmp_path: Path) -> None:
        lines = (ROOT / ".env.example").read_text().splitlines()
        stated = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
        # What is commented out stands at its default: set, it changes nothing and is no mistake.
        shown = dict(line[1:].split("=", 1) for line in lines if re.match(r"#[A-Z][A-Z0-9_]+=", line))
        env = {name: value for name, value in {**shown, **stated}.items() if value and name != "EMNIST_ARCHIVE"}
        env |= {"VAR_DIR": str(tmp_path), "PATH": "/usr/bin:/bin", "SECRET_KEY": secrets.token_urlsafe(50)}
        done = run(sys.executable, "manage.py", "check", "--deploy", "--tag", "security", **env)
        assert done.returncode == 0, done.stderr
        assert "W004" not in done.stderr, done.stderr
        without = run(sys.executable, "manage.py", "check", **{**env, "SECRET_KEY": ""})
        assert "letters.E003" in without.stderr


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("redis-server") and shutil.which("openssl")),
    reason="NOT RUN: no redis-server or no openssl here, and the Redis in the wheel speaks no TLS",
)
def test_a_site_speaks_tls_with_its_redis(tmp_path: Path) -> None:
    """Web, broker, cache, answers and worker, all of them, as they must on Heroku."""
    key, certificate, port = f"{tmp_path}/key", f"{tmp_path}/certificate", str(free_port())
    make = f"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=redis -keyout {key} -out {certificate}"
    assert run(*make.split()).returncode == 0
    options = ["--port", "0", "--tls-port", port, "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    options += ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate]
    server = Part("redis", [find_server(), *options, "--tls-auth-clients", "no"], {}, tmp_path / "log")
    server.start()
    try:
        wait_for(lambda: _listens(int(port)), "Redis listens", 30)
        env = {"REDIS_URL": f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none"}
        with running_site(processes=1, env=env) as site, Visitor(site) as visitor:
            assert visitor.keep()
    finally:
        server.end()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# --- The proxy before the site ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def behind_caddy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """A site of few threads behind the Caddy that compose.yaml runs, by its own Caddyfile: the proxy's address and the
    site's port."""
    folder = tmp_path_factory.mktemp("caddy")
    with running_site(processes=1, threads=4, env={"PROXIES": "1"}) as site:
        text = (ROOT / "deploy/Caddyfile").read_text()
        here, count = re.subn(r"dynamic a web 8000 \{[^}]*\}", f"to 127.0.0.1:{site.env['PORT']}", text)
        assert count == 1
        address = f"http://127.0.0.1:{free_port()}"
        (folder / "Caddyfile").write_text("{\n\tadmin off\n" + here[here.index("{\n") + 2 :])
        env = {"SITE_ADDRESS": address, "HOME": str(folder), "PATH": "/usr/bin:/bin"}
        command = [str(BIN / "caddy"), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
        proxy = Part("proxy", command, env, folder / "log")
        proxy.start()
        try:
            wait_for(lambda: _answers(address), "Caddy answers", 30)
            yield address, int(site.env["PORT"])
        finally:
            proxy.end()


def _answers(address: str) -> bool:
    try:
        return get(address, "/healthz").status_code == 200
    except requests.ConnectionError:
        return False


def get(address: str, path: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(address + path, timeout=30)


def test_the_caddyfile_is_in_order() -> None:
    done = run(
        str(BIN / "caddy"), "validate", "--adapter", "caddyfile", "--config", "deploy/Caddyfile",
        SITE_ADDRESS="letters.example.org", HOME="/tmp", PATH="/usr/bin:/bin",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert run(str(BIN / "caddy"), "fmt", "--diff", "deploy/Caddyfile").returncode == 0


@pytest.mark.slow
def test_slow_clients_hold_the_proxy_and_not_the_site(behind_caddy: tuple[str, int]) -> None:
    """Sixty send a body a byte at a time: the site has four threads, and does not hear of them."""
    address, site_port = behind_caddy
    host, port = address.removeprefix("http://").split(":")
    body = json.dumps({"strokes": Z, "canvas": CANVAS}).encode()
    head = (
        f"POST /api/v1/predictions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    ended = threading.Event()
    with ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(60)]
        for each in slow:
            each.sendall(head + body[:10])

        def drip() -> None:
            for at in range(10, len(body)):
                for each in slow:
                    each.sendall(body[at : at + 1])
                if ended.wait(0.5):
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            with requests.Session() as session:
                session.trust_env = False
                for _ in range(10):
                    answer = session.post(
                        f"{address}/api/v1/predictions", json={"strokes": Z, "canvas": CANVAS}, timeout=60
                    )
                    assert answer.status_code == 200, answer.text
            assert dripping.is_alive(), "the slow ones were through before the ten were answered"
            assert connections(site_port) < 10
        finally:
            ended.set()
            dripping.join()


def connections(port: int) -> int:
    """How many clients a server of this machine has, by its port."""
    found = psutil.net_connections("tcp")
    return len([each for each in found if each.laddr and each.laddr.port == port and each.status == "ESTABLISHED"])


@pytest.mark.slow
def test_the_proxy_refuses_what_is_too_large(behind_caddy: tuple[str, int]) -> None:
    address, _ = behind_caddy
    with requests.Session() as session:
        session.trust_env = False
        too_much = b" " * (settings.BODY_LIMIT + 2**20)

        def refused() -> int:
            try:  # it is closed after half a second: who has not read the answer then, does not get it
                return session.post(f"{address}/api/v1/predictions", data=too_much, timeout=30).status_code
            except requests.ConnectionError:
                return 0

        assert wait_for(refused, "it is answered", 30) == 413
