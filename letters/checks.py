"""System checks: what a site needs, by id. They look and tell; they repair nothing.

letters.E001  the shipped model is missing or damaged      letters.W001  no EMNIST archive
letters.E002  an embedded database in production           letters.W002  Redis does not answer
letters.E003  a short secret in production
"""

from __future__ import annotations

from typing import Any

import redis
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from ml import artifact


@register(deploy=True)
def shipped_model(**_: Any) -> list[CheckMessage]:
    """letters.E001"""
    try:
        artifact.verify(artifact.SHIPPED)
    except artifact.BadArtifact as problem:
        hint = "Restore ml/shipped from the repository, or train one: make train."
        return [Error(str(problem), hint=hint, id="letters.E001")]
    return []


@register(Tags.security, deploy=True)
def production_parts(**_: Any) -> list[CheckMessage]:
    """letters.E002 and letters.E003: nothing embedded in production."""
    found: list[CheckMessage] = []
    if not settings.PRODUCTION:
        return found
    if "sqlite" in settings.DATABASES["default"]["ENGINE"]:
        found.append(Error("Production needs PostgreSQL.", hint="Set DATABASE_URL.", id="letters.E002"))
    if len(settings.SECRET_KEY) < 50:
        hint = "Set SECRET_KEY to at least 50 random characters."
        found.append(Error("The SECRET_KEY is too short to be safe.", hint=hint, id="letters.E003"))
    return found


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
