"""What the environment says is judged as it is read: by name, with what it is and what it may be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from webapp.environment import Reader

Read = Callable[[Reader], Any]

READS: dict[str, Read] = {
    "choice": lambda read: read.choice("NAME", "what it is", ("red", "blue"), "red"),
    "flag": lambda read: read.flag("NAME", "what it is", default=False),
    "whole": lambda read: read.whole("NAME", "what it is", 5, least=1, most=9),
    "number": lambda read: read.number("NAME", "what it is", 1.0),
    "seconds": lambda read: read.seconds("NAME", "what it is", 2.5),
    "share": lambda read: read.share("NAME", "what it is", 0.1),
    "rate": lambda read: read.rate("NAME", "what it is", "60/min"),
    "url": lambda read: read.url("NAME", "what it is", ("redis", "rediss")),
    "database": lambda read: read.database("NAME", "sqlite:////tmp/x.sqlite3"),
    "listed": lambda read: read.listed("NAME", "what it is"),
    "hosts": lambda read: read.hosts("NAME", "what it is"),
    "origins": lambda read: read.origins("NAME", "what it is"),
    "counts": lambda read: read.counts("NAME", "what it is", {"inference": 50, "maps": 5}),
    "bucket": lambda read: read.bucket("NAME"),
    "secret": lambda read: read.secret("NAME", "what it is", least=8),
}
GOOD: list[tuple[str, str, Any]] = [
    ("choice", "blue", "blue"),
    ("choice", "", "red"),
    ("flag", "Yes", True),
    ("flag", "0", False),
    ("flag", "", False),
    ("whole", " 9 ", 9),
    ("whole", "", 5),
    ("seconds", "0.5", 0.5),
    ("share", "1", 1.0),
    ("rate", "600/min", (600, 60)),
    ("rate", "10/sec", (10, 1)),
    ("rate", "240/hour", (240, 3600)),
    ("rate", "none", None),
    ("rate", "", (60, 60)),
    ("url", "rediss://:secret@cache:6379/0", "rediss://:secret@cache:6379/0"),
    ("listed", "a, b", ["a", "b"]),
    ("listed", "", []),
    (
        "hosts",
        "a.example.org,.example.net,[::1],10.0.0.7,*",
        ["a.example.org", ".example.net", "[::1]", "10.0.0.7", "*"],
    ),
    ("origins", "https://a.example.org,http://localhost:8000", ["https://a.example.org", "http://localhost:8000"]),
    ("counts", "maps=7", {"inference": 50, "maps": 7}),
    ("bucket", "my-bucket.example", "my-bucket.example"),
    ("secret", "$ecret-and-long", "$ecret-and-long"),
]
BAD: list[tuple[str, str]] = [
    ("choice", "green"),
    ("flag", "maybe"),
    ("flag", "2"),
    ("whole", "-3"),
    ("whole", "0"),
    ("whole", "10"),
    ("whole", "1.5"),
    ("whole", "many"),
    ("whole", "٣"),
    ("number", "inf"),
    ("number", "nan"),
    ("seconds", "0"),
    ("seconds", "-1"),
    ("seconds", "inf"),
    ("seconds", "nan"),
    ("seconds", "ten"),
    ("share", "1.01"),
    ("share", "-0.1"),
    ("share", "10%"),
    ("rate", "60/minute"),
    ("rate", "60"),
    ("rate", "0/min"),
    ("rate", "-1/min"),
    ("rate", "None"),
    ("url", "cache:6379"),
    ("url", "http://cache:6379"),
    ("url", "redis://cache:port/0"),
    ("url", "redis:///0"),
    ("database", "mysql://a@b/c"),
    ("database", "letterloop"),
    ("database", "postgres:///"),
    ("database", "postgres:letters"),
    ("database", "mysql:///letters"),
    ("database", "postgres://[db/letters"),
    ("database", "sqlite://letters"),
    ("listed", "a,,b"),
    ("listed", "a b"),
    ("hosts", "https://a.example.org"),
    ("hosts", "a.example.org:8000"),
    ("hosts", "a.example.org/x"),
    ("origins", "a.example.org"),
    ("origins", "https://a.example.org/x"),
    ("counts", "predictions=5"),
    ("counts", "maps=-1"),
    ("counts", "maps"),
    ("bucket", "s3://bucket"),
    ("bucket", "a/b"),
    ("secret", "short"),
]


@pytest.mark.parametrize(("kind", "value", "meant"), GOOD)
def test_it_works(monkeypatch: pytest.MonkeyPatch, kind: str, value: str, meant: Any) -> None:
    monkeypatch.setenv("NAME", value)
    assert READS[kind](Reader()) == meant


@pytest.mark.parametrize(("kind", "value"), BAD)
def test_a_bad_value_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, kind: str, value: str) -> None:
    monkeypatch.setenv("NAME", value)
    with pytest.raises(ImproperlyConfigured) as refused:
        READS[kind](Reader())
    words = str(refused.value)
    assert words.startswith("NAME ")
    assert "what it is" in words or kind in ("database", "bucket")
    if kind in ("url", "database", "secret"):
        assert value not in words  # it may hold a password


def test_a_database_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "postgres://ann:word@db:5433/letters")
    found = READS["database"](Reader())
    assert (found["ENGINE"], found["HOST"], found["PORT"], found["NAME"]) == (
        "django.db.backends.postgresql",
        "db",
        5433,
        "letters",
    )


@pytest.mark.parametrize(("asked", "options"), [("", {}), ("?host=/run/postgresql", {"host": "/run/postgresql"})])
def test_a_database_of_this_machine_needs_no_host(
    monkeypatch: pytest.MonkeyPatch, asked: str, options: dict[str, str]
) -> None:
    monkeypatch.setenv("NAME", f"postgres:///letters{asked}")
    found = READS["database"](Reader())
    assert (found["ENGINE"], found["HOST"], found["NAME"]) == ("django.db.backends.postgresql", "", "letters")
    assert found.get("OPTIONS", {}) == options


def test_a_value_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As containers are handed secrets; a file that is not there is said, and not taken for no secret."""
    monkeypatch.setenv("NAME_FILE", str(tmp_path / "secret"))
    with pytest.raises(ImproperlyConfigured, match="NAME_FILE"):
        READS["secret"](Reader())
    (tmp_path / "secret").write_text("from-a-file\n")
    assert READS["secret"](Reader()) == "from-a-file"


def test_what_looks_like_a_setting_and_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    read = Reader()
    for name in ("DRAWINGS_PER_DAY", "DATABASE_URL", "S3_BUCKET", "REDIS_URL"):
        read.text(name)
    harmless = dict.fromkeys(("PATH", "HOSTNAME", "REDIS_HOST", "HOST", "DATABASE_URL", "S3_BUCKET_FILE", "HOME"), "x")
    assert read.mistyped(harmless) == {}
    typos = {"DRAWING_PER_DAY": "5", "DATABASE_URI": "x", "S3_BUCKETNAME_OF_OURS": "x"}
    assert read.mistyped(harmless | typos) == {
        "DATABASE_URI": "DATABASE_URL",
        "DRAWING_PER_DAY": "DRAWINGS_PER_DAY",
        "S3_BUCKETNAME_OF_OURS": "",
    }
