"""What a network may ask of the API in a while; the counting stands in quotas.py."""

from __future__ import annotations

import logging

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from letters import addresses, errors, quotas

log = logging.getLogger(__name__)


class PredictionThrottle(BaseThrottle):
    """Where Redis does not answer no model could be reached either, and a visitor is told so at once."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        try:
            quotas.take(addresses.hashed(request), "predictions")
        except quotas.Uncounted as problem:
            raise errors.InferenceUnavailable from problem
        return True


def count_picture(request: Request) -> None:
    """A picture of four megapixels takes a web process hundreds of times what strokes do, so fewer are taken."""
    try:
        quotas.take(addresses.hashed(request), "pictures")
    except quotas.Uncounted as problem:
        raise errors.InferenceUnavailable from problem


class DrawingThrottle(BaseThrottle):
    """Where Redis does not answer nobody is refused for that: the contributor's quota stands in the database."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        try:
            quotas.take(addresses.hashed(request), "drawings")
        except quotas.Uncounted as problem:
            log.warning("requests are not counted: %s", problem)
        return True


class FileThrottle(BaseThrottle):
    """A file of all letters takes a thread for as long as its download lasts."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        try:
            quotas.take(addresses.hashed(request), "files")
        except quotas.Uncounted as problem:
            log.warning("downloads are not counted: %s", problem)
        return True
