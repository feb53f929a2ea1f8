"""Values from the environment, judged as they are read. A bad one is refused by its name, with what it is and may be.

    read = Reader(BASE_DIR / ".env")
    DRAWINGS_PER_DAY = read.whole("DRAWINGS_PER_DAY", "drawings kept of one contributor a day", 500, least=1)

`NAME_FILE` names a file that holds the value of `NAME`, as containers are handed secrets. An empty value is none.
"""

from __future__ import annotations

import difflib
import ipaddress
import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured
from environ.fileaware_mapping import FileAwareMapping

READ_ELSEWHERE = {
    # read where they are used, by ml, by gunicorn, by a library or by the scripts
    "EMNIST_ARCHIVE", "LETTERLOOP_STROKES", "LETTERLOOP_CHROMIUM", "PORT", "HOST", "WEB_CONCURRENCY", "WEB_THREADS",
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "DYNO",
}  # fmt: skip
OUR_PREFIXES = ("LETTERLOOP_", "THROTTLE_", "S3_")
ALIKE = 0.85  # of difflib: DRAWING_PER_DAY is 0.97 like DRAWINGS_PER_DAY, and REDIS_HOST 0.74 like REDIS_URL
RATE = re.compile(r"([1-9]\d{0,8})/(sec|min|hour|day)", re.ASCII)
PERIODS = {"sec": 1, "min": 60, "hour": 3600, "day": 86400}
TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
HOST_NAME = re.compile(r"\.?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


class Reader:
    """Reads the environment, and a file of it where there is one; `names` are those that it was asked for."""

    def __init__(self, file: Path | None = None) -> None:
        self._env = environ.FileAwareEnv()
        self._env.ENVIRON = FileAwareMapping()  # the class's own remembers files for all readers
        if file is not None and file.is_file():
            self._env.read_env(file)
        self.names: set[str] = set()

    def text(self, name: str, default: str = "") -> str:
        """Any words."""
        self.names.add(name)
        try:
            value: str = self._env.ENVIRON.get(name, "")  # not env.str: to it a secret that begins with $ is a name
        except OSError as problem:
            raise ImproperlyConfigured(f"{name}_FILE names a file that cannot be read: {problem}") from problem
        return value.strip() or default

    def is_set(self, name: str) -> bool:
        """Whether it stands there with a value."""
        return bool(self.text(name))

    def secret(self, name: str, what: str, *, least: int) -> str:
        """Words that no message shows; empty where there are none."""
        value = self.text(name)
        if value and len(value) < least:
            raise ImproperlyConfigured(f"{name} has {len(value)} characters: {what}, of at least {least} random ones")
        return value

    def choice(self, name: str, what: str, choices: Iterable[str], default: str) -> str:
        """One of a few words."""
        value = self.text(name, default)
        if value not in choices:
            _refuse(name, value, what, " or ".join(choices))
        return value

    def flag(self, name: str, what: str, default: bool) -> bool:
        """Yes or no."""
        value = self.text(name, str(default)).lower()
        if value not in TRUE + FALSE:
            _refuse(name, value, what, "true or false")
        return value in TRUE

    def whole(self, name: str, what: str, default: int, *, least: int = 0, most: int = 2**31 - 1) -> int:
        """A whole number within limits, both included."""
        value = self.text(name, str(default))
        if not re.fullmatch(r"-?\d{1,18}", value, re.ASCII) or not least <= int(value) <= most:
            _refuse(name, value, what, f"a whole number {_range(least, most, 2**31 - 1)}")
        return int(value)

    def number(
        self, name: str, what: str, default: float, *, least: float = 0.0, most: float = math.inf, unit: str = ""
    ) -> float:
        """A finite number within limits, both included; `unit` is said with them."""
        value = self.text(name, str(default))
        if (found := _finite(value)) is None or not least <= found <= most:
            _refuse(name, value, what, f"a number{unit and f' of {unit}'} {_range(least, most, math.inf)}")
        return float(value)

    def seconds(self, name: str, what: str, default: float, *, least: float = 0.1, most: float = 30 * 86400) -> float:
        """A duration."""
        return self.number(name, what, default, least=least, most=most, unit="seconds")

    def share(self, name: str, what: str, default: float) -> float:
        """0 to 1."""
        return self.number(name, what, default, most=1.0)

    def rate(self, name: str, what: str, default: str) -> tuple[int, int] | None:
        """So many in so many seconds, of `600/min` or `240/hour`; None for no limit, which is written `none`."""
        value = self.text(name, default)
        if value == "none":
            return None
        found = RATE.fullmatch(value)
        if found is None:
            _refuse(name, value, what, "none, or such as 10/sec, 600/min, 240/hour, 1000/day")
        return int(found[1]), PERIODS[found[2]]

    def url(self, name: str, what: str, schemes: tuple[str, ...]) -> str:
        """An address that begins with one of the schemes and names a host; empty where there is none."""
        value = self.text(name)
        if value and not _is_url(value, schemes):
            begins = " or ".join(f"{each}://" for each in schemes)
            # not shown: it may hold a password
            raise ImproperlyConfigured(f"{name} is no address that I know: {what}, such as {begins}host:port/name")
        return value

    def database(self, name: str, default: str) -> dict[str, Any]:
        """Django's settings of a database, from its address. A PostgreSQL of this machine may be named without a host,
        `postgres:///name` or `postgres:///name?host=/folder/of/its/socket`."""
        schemes = ("postgres", "postgresql", "psql", "pgsql")
        value = self.text(name, default)
        if value.startswith("sqlite:///") or _is_url(value, schemes) or _is_by_socket(value, schemes):
            found: dict[str, Any] = self._env.db_url_config(value)
            return found
        raise ImproperlyConfigured(
            f"{name} is no address that I know: the database, such as postgres://user:password@host:5432/name"
        )

    def listed(self, name: str, what: str, default: Iterable[str] = ()) -> list[str]:
        """Words, separated by commas, none of them empty."""
        value = self.text(name)
        if not value:
            return list(default)
        parts = [each.strip() for each in value.split(",")]
        if not all(parts) or any(" " in each for each in parts):
            _refuse(name, value, what, "separated by commas")
        return parts

    def hosts(self, name: str, what: str, default: Iterable[str] = ()) -> list[str]:
        """Host names, as ALLOWED_HOSTS has them."""
        found = self.listed(name, what, default)
        for each in found:
            if each != "*" and not HOST_NAME.fullmatch(each) and not _is_address(each):
                _refuse(name, each, what, "letters.example.org, .example.org or an address, without scheme, port, path")
        return found

    def origins(self, name: str, what: str) -> list[str]:
        """Addresses of sites: a scheme and a host."""
        found = self.listed(name, what)
        for each in found:
            if not _is_url(each, ("http", "https")) or urlsplit(each).path:
                _refuse(name, each, what, "such as https://letters.example.org, without a path")
        return found

    def counts(self, name: str, what: str, default: Mapping[str, int]) -> dict[str, int]:
        """A whole number for each of some names: `inference=100,maps=20`; those that are not named keep theirs."""
        found = dict(default)
        for each in self.listed(name, what):
            key, _, count = each.partition("=")
            if key not in default or not re.fullmatch(r"\d{1,9}", count, re.ASCII):
                known = ", ".join(f"{one}={number}" for one, number in default.items())
                _refuse(name, each, what, f"a list such as {known}")
            found[key] = int(count)
        return found

    def bucket(self, name: str) -> str:
        """The name of a bucket; empty where there is none."""
        value = self.text(name)
        if value and not BUCKET.fullmatch(value):
            _refuse(name, value, "the bucket that holds the files", "its name alone, without s3:// and slashes")
        return value

    def mistyped(self, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
        """What stands in the environment and looks like a variable of ours that is none: by that, what may be meant."""
        known = self.names | READ_ELSEWHERE
        unknown = [name for name in environment if name not in known and name.removesuffix("_FILE") not in known]
        found = {}
        for name in sorted(unknown):
            close = difflib.get_close_matches(name, known, n=1, cutoff=ALIKE)
            if close or name.startswith(OUR_PREFIXES):
                found[name] = close[0] if close else ""
        return found


def web_size(read: Reader) -> tuple[int, int]:
    """How many web processes there are on a machine, and how many requests one of them answers at once."""
    return (
        read.whole("WEB_CONCURRENCY", "how many web processes there are", 2, least=1, most=256),
        read.whole("WEB_THREADS", "how many requests one of them answers at once", 20, least=1, most=1000),
    )


def _refuse(name: str, value: str, what: str, may_be: str) -> NoReturn:
    raise ImproperlyConfigured(f"{name} is {value!r}; it says {what}, and may be {may_be}")


def _range(least: float, most: float, endless: float) -> str:
    return f"of {least:g} or more" if most == endless else f"from {least:g} to {most:g}"


def _finite(value: str) -> float | None:
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _is_url(value: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises where it is none
    except ValueError:
        return False
    return parts.scheme in schemes and bool(parts.hostname) and not re.search(r"\s", value)


def _is_by_socket(value: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in schemes and not parts.netloc and bool(re.fullmatch(r"/[^/\s]+", parts.path))


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
