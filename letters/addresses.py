"""Whence a request comes, told apart and never kept: a keyed hash of its network, which is another one each hour.

As many proxies as `PROXIES` says add to X-Forwarded-For, each at the right; what stands left of them the visitor wrote.
An IPv6 network is a /64, which one household has to itself.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from ipaddress import IPv4Address, IPv6Address, ip_address

from django.conf import settings
from django.http import HttpRequest

from letters.quotas import HOUR

_Address = IPv4Address | IPv6Address


def hashed(request: HttpRequest, now: float | None = None) -> str:
    """The network of a request, of which nothing can be read: 32 hexadecimal digits. After the hour it is others."""
    hour = int((time.time() if now is None else now) // HOUR)
    key = hmac.digest(settings.SECRET_KEY.encode(), f"letterloop.address:{hour}".encode(), hashlib.sha256)
    return hmac.digest(key, _network(_address(request)), hashlib.sha256).hex()[:32]


def disguised(request: HttpRequest) -> str:
    """The same in the form of an address that nobody has (fd00::/8), for what keeps addresses and nothing else."""
    return str(IPv6Address(bytes.fromhex("fd" + hashed(request)[:30])))


def _address(request: HttpRequest) -> _Address | None:
    """None where there is none, as behind a Unix socket, or where what a proxy wrote is no address."""
    forwarded = [each.strip() for each in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if each.strip()]
    if settings.PROXIES and forwarded:
        return _parsed(forwarded[-min(settings.PROXIES, len(forwarded))])
    return _parsed(request.META.get("REMOTE_ADDR", ""))


def _parsed(text: str) -> _Address | None:
    """An address as proxies write it: some with a port, some with brackets, some with a zone."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (isinstance(found, IPv6Address) and found.ipv4_mapped) or found


def _network(address: _Address | None) -> bytes:
    if address is None:
        return b""
    return address.packed[:8] if isinstance(address, IPv6Address) else address.packed
