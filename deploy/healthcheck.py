"""Ask the web process of this machine for a path, and exit 0 where it answers 200: for Docker and for monitoring.

python deploy/healthcheck.py /healthz
"""

from __future__ import annotations

import http.client
import os
import sys


def main(path: str) -> int:
    """By a host name that the site knows, as a proxy that ends TLS asks."""
    named = [name for name in os.environ.get("ALLOWED_HOSTS", "").split(",") if name.strip(" .*")]
    headers = {"Host": named[0].strip().lstrip(".") if named else "localhost", "X-Forwarded-Proto": "https"}
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("PORT", "8000")), timeout=8)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
    except OSError as problem:
        print(f"no answer: {problem}")
        return 1
    print(answer.status, answer.read(2000).decode(errors="replace"))
    return 0 if answer.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
