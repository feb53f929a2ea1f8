"""An S3 server of the tests' own, on the loopback, with one bucket."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from tests.running import Part, free_port, wait_for

NAME = "letters"


@dataclass(frozen=True)
class Bucket:
    """`env` has a site use it; `server` is the process, to be paused and resumed."""

    env: dict[str, str]
    server: Part

    def names(self, under: str = "") -> list[str]:
        """What lies in it."""
        return sorted(each.key for each in self._bucket().objects.filter(Prefix=under))

    def put(self, name: str, content: bytes) -> None:
        """Replace a file, as somebody who has the bucket's keys might."""
        self._bucket().put_object(Key=name, Body=content)

    def content(self, name: str) -> bytes:
        """Of a file that lies in it."""
        found: bytes = self._bucket().Object(name).get()["Body"].read()
        return found

    def delete(self, name: str) -> None:
        """As a mistaken rule of the bucket's own might."""
        self._bucket().Object(name).delete()

    def _bucket(self) -> Any:
        keys = {"aws_access_key_id": "tests", "aws_secret_access_key": "tests", "region_name": "us-east-1"}
        return boto3.resource("s3", endpoint_url=self.env["S3_ENDPOINT_URL"], **keys).Bucket(NAME)


@contextlib.contextmanager
def running_bucket(folder: Path) -> Iterator[Bucket]:
    """A server with an empty bucket; what it holds is gone with it."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = Part("s3", command, os.environ, folder / "s3.log")
    env = {
        "S3_BUCKET": NAME,
        "S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "S3_REGION": "us-east-1",
        "S3_TIMEOUT": "2",
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
    }
    server.start()
    try:
        wait_for(lambda: _listens(port), "the S3 server listens")
        bucket = Bucket(env, server)
        bucket._bucket().create()
        yield bucket
    finally:
        server.end()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
