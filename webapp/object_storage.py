"""Files in an S3-compatible storage, for sites of several machines. Chosen by S3_BUCKET, see webapp/settings.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from boto3.exceptions import Boto3Error  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]
from storages.backends.s3 import S3Storage  # type: ignore[import-untyped]


class ObjectStorage(S3Storage):  # type: ignore[misc]
    """As django-storages has it; what goes wrong there is an OSError, as it is with files on a disk."""

    def _open(self, name: str, mode: str = "rb") -> Any:
        with _os_errors(name):
            opened = super()._open(name, mode)
            if "r" in mode:
                _ = opened.file  # fetched now, where an error can be told, and not when it is first read
            return opened

    def _save(self, name: str, content: Any) -> str:
        with _os_errors(name):
            return str(super()._save(name, content))

    def exists(self, name: str) -> bool:
        with _os_errors(name):
            return bool(super().exists(name))

    def delete(self, name: str) -> None:
        with _os_errors(name):
            super().delete(name)

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        with _os_errors(path):
            folders, names = super().listdir(path)
            return folders, names


@contextmanager
def _os_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, Boto3Error, ClientError) as error:
        raise OSError(f"the storage did not do what was asked of {name}: {error}") from error
