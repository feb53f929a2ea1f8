"""System checks: what a site needs, by id. They look and tell; they repair nothing. docs/operations.md lists them.

Refused by every process in production (`refuse`, when Django starts), whatever it is: web, worker, beat, a command.
letters.E002  SQLite in production                         letters.E006  an embedded Redis in production
letters.E003  no secret of its own, or a weak one          letters.E007  on Heroku, and no proxy is trusted
letters.E004  no host names, or all                        letters.E008  nothing keeps visitors on HTTPS
letters.E005  DEBUG in production                          letters.E009  files on a disk that forgets

Found by `manage.py check --deploy`:
letters.E001  the shipped model is missing or damaged
letters.W001  no EMNIST archive                            letters.W004  what looks like a mistyped setting
letters.W002  Redis does not answer                        letters.W005  no proxy is trusted in production
letters.W003  files in a folder of one machine             letters.W006  visitors are not sent to HTTPS by us
letters.W007  the database gives too few connections
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import redis
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection

from ml import artifact
from webapp.environment import web_size

log = logging.getLogger(__name__)

OF_READYZ = 4  # connections that a web process opens beside those of its threads, while it asks how the parts are
OF_OTHERS = 6  # a worker, the two processes of a trainer with a heartbeat each, beat
CONNECTIONS = """
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true), '0')::int,
    (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user),
    (SELECT datconnlimit FROM pg_database WHERE datname = current_database())
"""
SECRET_LENGTH = 50
DIFFERENT = 10  # characters that a secret has at least, as Django has it
# Those of examples and tutorials; so marked by Django's own project template.
NO_SECRETS = (
    "django-insecure",
    "change-me",
    "changeme",
    "change_me",
    "your-secret",
    "secret-key",
    "example",
    "password",
)


@register(deploy=True)
def shipped_model(**_: Any) -> list[CheckMessage]:
    """letters.E001"""
    try:
        artifact.verify(artifact.SHIPPED)
    except artifact.BadArtifact as problem:
        hint = "Restore ml/shipped from the repository, or train one: make train."
        return [Error(str(problem), hint=hint, id="letters.E001")]
    return []


# --- What production must not run with ------------------------------------------------------------------------------


def _database() -> list[CheckMessage]:
    """letters.E002"""
    if "sqlite" not in settings.DATABASES["default"]["ENGINE"]:
        return []
    words = "Production needs PostgreSQL: SQLite is a file of one machine, and lets one process write at a time."
    return [Error(words, hint="Set DATABASE_URL, such as postgres://user:password@host:5432/name.", id="letters.E002")]


def _secret() -> list[CheckMessage]:
    """letters.E003"""
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    weak = [problem for problem in map(_weakness, secrets) if problem]
    hint = 'Set SECRET_KEY to what this prints: python -c "import secrets; print(secrets.token_urlsafe(50))"'
    return [Error(f"The SECRET_KEY {weak[0]}.", hint=hint, id="letters.E003")] if weak else []


def _weakness(secret: str) -> str:
    if secret == settings.NO_SECRET:
        return "is not set: a site for strangers has a secret of its own"
    if len(secret) < SECRET_LENGTH or len(set(secret)) < DIFFERENT:
        return f"is too short to be safe, or one of its fallbacks: it takes {SECRET_LENGTH} random characters"
    if any(each in secret.lower() for each in NO_SECRETS):
        return "is one of an example, or one of its fallbacks, which anybody may know"
    return ""


def _hosts() -> list[CheckMessage]:
    """letters.E004"""
    if settings.ALLOWED_HOSTS and "*" not in settings.ALLOWED_HOSTS:
        return []
    hint = "Set ALLOWED_HOSTS to the host names of the site, separated by commas."
    return [Error("ALLOWED_HOSTS names no host, or every one.", hint=hint, id="letters.E004")]


def _debug() -> list[CheckMessage]:
    """letters.E005"""
    if not settings.DEBUG:
        return []
    hint = "Unset DEBUG, or LETTERLOOP_ENV=production."
    return [Error("DEBUG shows visitors the inside of the site.", hint=hint, id="letters.E005")]


def _redis() -> list[CheckMessage]:
    """letters.E006"""
    if settings.ENVIRONMENT_READER.is_set("REDIS_URL"):
        return []
    words = "Production needs a Redis of its own: no REDIS_URL says where it is."
    return [Error(words, hint="Set REDIS_URL, such as rediss://:password@host:6379/0.", id="letters.E006")]


def _proxies() -> list[CheckMessage]:
    """letters.E007 and letters.W005"""
    if settings.PROXIES:
        return []
    words = "PROXIES is 0: all visitors seem to come from the address of the proxy, and share its limits."
    if settings.HEROKU:
        return [Error(words, hint="Set PROXIES=1: Heroku's router is one.", id="letters.E007")]
    hint = "Set PROXIES to how many proxies of yours stand before this site; HTTPS needs one at least."
    return [Warning(words, hint=hint, id="letters.W005")]


def _https() -> list[CheckMessage]:
    """letters.E008 and letters.W006"""
    if settings.SECURE_SSL_REDIRECT:
        return []
    if not settings.SECURE_HSTS_SECONDS:
        words = "Nothing keeps visitors on HTTPS: neither SECURE_SSL_REDIRECT nor SECURE_HSTS_SECONDS is set."
        return [Error(words, hint="Leave both as they are, on and 3600.", id="letters.E008")]
    hint = "Leave SECURE_SSL_REDIRECT on, or see that the proxy sends visitors to HTTPS."
    return [Warning("Visitors who come by HTTP are not sent to HTTPS by this site.", hint=hint, id="letters.W006")]


def _files() -> list[CheckMessage]:
    """letters.E009 and letters.W003"""
    if "FileSystemStorage" not in settings.STORAGES["default"]["BACKEND"]:
        return []
    hint = "Set S3_BUCKET, and the keys of an account that may read and write it."
    if settings.HEROKU:
        words = "Files would lie on the disk of a dyno, which no other dyno reads and which forgets within a day."
        return [Error(words, hint=hint, id="letters.E009")]
    words = "Files lie in a folder of this machine: no other machine sees them, and who loses the disk loses them."
    return [Warning(words, hint=f"{hint} With one machine: keep VAR_DIR on a disk that stays.", id="letters.W003")]


IN_PRODUCTION: tuple[Callable[[], list[CheckMessage]], ...] = (
    _database,
    _secret,
    _hosts,
    _debug,
    _redis,
    _proxies,
    _https,
    _files,
)


@register(Tags.security, deploy=True)
def production_parts(**_: Any) -> list[CheckMessage]:
    """Nothing embedded, open or forgetful in production."""
    return [message for check in IN_PRODUCTION for message in check()] if settings.PRODUCTION else []


def refuse() -> None:
    """Start no process of a production site that strangers should not meet. Raises ImproperlyConfigured.

    Called when Django starts, so by gunicorn, Celery and every command alike. None of it asks a network.
    """
    found = production_parts()
    errors = [each for each in found if each.is_serious()]
    if errors:
        said = "\n".join(f"  {each.id}: {each.msg} {each.hint}" for each in errors)
        raise ImproperlyConfigured(f"this site does not start in production as it is set up:\n{said}")
    for each in (*found, *mistyped_settings()):
        log.warning("%s: %s %s", each.id, each.msg, each.hint)


# --- What else is worth a look --------------------------------------------------------------------------------------


@register
def mistyped_settings(**_: Any) -> list[CheckMessage]:
    """letters.W004"""
    return [
        Warning(
            f"{name} is no setting of this site, and does nothing.",
            hint=f"Is {meant} meant?" if meant else "docs/operations.md lists them all.",
            id="letters.W004",
        )
        for name, meant in settings.ENVIRONMENT_READER.mistyped().items()
    ]


@register(deploy=True)
def emnist_archive(**_: Any) -> list[CheckMessage]:
    """letters.W001"""
    from ml import emnist

    path = emnist.archive_path()
    if path.is_file():
        return []
    hint = "Training from scratch will download it; or set EMNIST_ARCHIVE."
    return [Warning(f"There is no EMNIST archive at {path}.", hint=hint, id="letters.W001")]


@register(deploy=True)
def broker(**_: Any) -> list[CheckMessage]:
    """letters.W002"""
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=1) as client:
            client.ping()
    except redis.RedisError as problem:
        hint = "Start one with make run, or set REDIS_URL."
        return [Warning(f"Redis does not answer: {problem}", hint=hint, id="letters.W002")]
    return []


@register(deploy=True)
def connections(**_: Any) -> list[CheckMessage]:
    """letters.W007"""
    if "postgresql" not in settings.DATABASES["default"]["ENGINE"]:
        return []
    processes, threads = web_size(settings.ENVIRONMENT_READER)
    wanted = processes * (threads + OF_READYZ) + OF_OTHERS
    try:
        given = _connections_given()
    except DatabaseError:  # /readyz says that
        return []
    if given >= wanted:
        return []
    words = f"The database gives us {given} connections, and one machine with all processes may want {wanted}."
    hint = "Set WEB_THREADS or WEB_CONCURRENCY lower, see docs/operations.md, or take a database that gives more."
    return [Warning(words, hint=hint, id="letters.W007")]


def _connections_given() -> int:
    """To us: the server, our role and the database have a limit each, or none, which is below 0."""
    with connection.cursor() as cursor:
        cursor.execute(CONNECTIONS)
        limits: tuple[int, ...] = cursor.fetchone()
    return min(each for each in limits if each >= 0)
