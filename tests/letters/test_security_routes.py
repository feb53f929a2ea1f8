"""Every address of the site, as its URL configuration lists them: who may do what there, and what an answer says of
itself. A new address that is not thought of here fails these tests."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.http import HttpResponseBase
from django.test import Client
from django.urls import URLPattern, get_resolver
from django_celery_beat.models import PeriodicTask

from letters import review
from letters.models import (
    Decision,
    Deployment,
    Drawing,
    Export,
    Import,
    LetterMap,
    ModelVersion,
    Report,
    Serving,
    TrainingRun,
)
from tests.letters.reviewing import PASSWORD, a_contributor, a_reviewer, make_drawing

pytestmark = pytest.mark.django_db

UNSAFE = ("post", "put", "patch", "delete")
SAFE = ("get", "head")  # OPTIONS says what an operation is, as the schema does
PAYLOAD = "<img src=x onerror=alert(1)>\"'><script>alert(2)</script>{{7*7}}"
HARMFUL = re.compile(rb"<img src=x|<script>alert|onerror=alert\(1\)>(?!&quot;)|>49<")
PUBLIC = {
    "", "samples", "samples/<uuid:drawing_id>.png", "samples/<uuid:drawing_id>", "explore/", "explore/emnist/",
    "model/", "model/compare/", "model/<int:number>/", "about", "privacy", "drawings/<uuid:drawing_id>", "mine", "api/",
    "healthz", "readyz", "admin/login/", "admin/logout/",
    *("api/v1/" + each for each in (
        "predictions", "drawings", "drawings/mine", "drawings/mine/file", "drawings/mine/deletion",
        "drawings/<uuid:drawing_id>", "models", "models/current", "models/<int:number>", "maps", "maps/umap",
        "maps/<uuid:map_id>/emnist", "maps/<uuid:map_id>/collected", "maps/<uuid:map_id>/sheets/<int:number>",
        "maps/<uuid:map_id>/<str:name>", "maps/<str:method>", "emnist/summary", "emnist/<str:kind>/<str:label>.png",
        "deployments", "training-runs", "training-runs/<uuid:run_id>", "schema/",
    )),
}  # fmt: skip
"""What anybody may look at."""
NO_SESSION = {
    "api/v1/predictions": "stores nothing; the cookie only says which id to put into the token",
    "api/v1/drawings": "the drawing goes to whom its signed token names, whatever cookie is sent",
    "api/v1/drawings/<uuid:drawing_id>": "the receipt in a header is what counts, which no other site can send",
}
"""What changes something without a CSRF token, and why no other site can have it done in a visitor's name."""
GUARDED = {"api/v1/drawings/mine/deletion": "not_confirmed"}
"""What the visitor's cookie alone allows, and the code by which a request that may be another site's is refused."""
OPERATOR = {"metrics"}  # by a token of its own, see letters/watching.py


@dataclass(frozen=True)
class Route:
    """An address as it is configured, and one that there is."""

    pattern: str
    path: str

    @property
    def is_public(self) -> bool:
        return self.pattern in PUBLIC


def configured(patterns: Any, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for each in patterns:
        if isinstance(each, URLPattern):
            yield prefix + str(each.pattern), each
        else:
            yield from configured(each.url_patterns, prefix + str(each.pattern))


PATTERNS = [pattern for pattern, _ in configured(get_resolver().url_patterns)]


class House:
    """A site with one of everything in it, each text of which somebody tried to make into code."""

    def __init__(self) -> None:
        self.admin = User.objects.create_superuser(
            PAYLOAD[:150], password="a-long-password-1", first_name=PAYLOAD[:150]
        )
        self.model = ModelVersion.objects.create(number=1, digest="1" * 64, name=PAYLOAD[:80], origin="trained")
        Serving.objects.create(model=self.model)
        brought_in = Import.objects.create(name=PAYLOAD[:100], consent=PAYLOAD)
        contributor = a_contributor()
        contributor.imported_from = brought_in
        contributor.save()
        self.drawing = make_drawing(contributor=contributor, model=self.model)
        seen = {"drawing_id": self.drawing.pk, "revision": 0, "judgement": review.Judgement("approve")}
        self.decision = review.decide(reviewer=self.admin, **seen)
        self.report = Report.objects.create(drawing=self.drawing, reporter="0" * 64, reason="other", weighs=True)
        texts = {"requested_by": PAYLOAD[:150], "message": PAYLOAD}
        work = {"log": PAYLOAD, "worker": PAYLOAD, "progress": {"message": PAYLOAD, "stage": PAYLOAD}} | texts
        self.run = TrainingRun.objects.create(
            kind="head",
            trigger="button",
            state="failed",
            champion=self.model,
            cancel_requested_by=PAYLOAD[:150],
            **work,
        )
        self.deployment = Deployment.objects.create(model=self.model, actor=PAYLOAD[:150], reason=PAYLOAD, run=self.run)
        self.map = LetterMap.objects.create(
            method="umap", space="features", state="failed", trigger="button", progress={"message": PAYLOAD}, **texts
        )
        self.export = Export.objects.create(format="parquet", state="failed", **texts)
        PeriodicTask.objects.update(description=PAYLOAD)

    def path_of(self, pattern: str) -> str:
        """An address that there is: with ids of what is in the house."""
        known = {
            "drawing_id": self.drawing.pk, "map_id": self.map.pk, "export_id": self.export.pk, "run_id": self.run.pk,
            "contributor_id": self.drawing.contributor_id, "number": 1, "pk": self.model.pk, "id": self.admin.pk,
            "method": "pca", "name": "figure.svg", "kind": "mean", "label": "A", "content_type_id": 1,
            "object_id": self._object_id(pattern),
        }  # fmt: skip
        if "^" in pattern:  # Django's own: lists by app, and what is none of its addresses
            return "/admin/letters/"
        if "(?P<url>" in pattern:
            return "/admin/nothing/"
        return "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda found: str(known[found[1]]), pattern)

    def _object_id(self, pattern: str) -> object:
        """Of a row of the table that a page of the admin is about, 1 where there is none."""
        found = re.match(r"admin/(\w+)/(\w+)/<path:object_id>", pattern)
        if not found:
            return self.drawing.pk
        table = ContentType.objects.get(app_label=found[1], model=found[2]).model_class()
        assert table is not None
        return table._default_manager.order_by("pk").values_list("pk", flat=True).first() or 1

    def routes(self) -> list[Route]:
        return [Route(pattern, self.path_of(pattern)) for pattern in PATTERNS]


@pytest.fixture
def house(settings: Any) -> House:
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = settings.STORAGES | {"staticfiles": plain}
    settings.QUOTAS = dict.fromkeys(settings.QUOTAS)
    return House()


def client_of(user: User | None = None, **options: Any) -> Client:
    made = Client(headers={"host": "localhost"}, raise_request_exception=False, **options)
    if user:
        made.force_login(user)
    return made


def body(answer: HttpResponseBase) -> bytes:
    return b"".join(answer) if answer.streaming else answer.content  # type: ignore[attr-defined]


def told_to_sign_in(answer: HttpResponseBase) -> bool:
    return answer.status_code == 302 and answer.headers["Location"].startswith("/admin/login/")


# --- Who may do what -------------------------------------------------------------------------------------------------


def test_a_stranger_gets_what_is_public_and_nothing_else(house: House) -> None:
    """With the ids of everything that there is: an id alone opens nothing."""
    client = client_of()
    for route in house.routes():
        if route.is_public or route.pattern in OPERATOR:
            continue
        for method in (*SAFE, *UNSAFE):
            answer = getattr(client, method)(route.path, headers={"accept": "*/*"})
            refused = told_to_sign_in(answer) or answer.status_code in (401, 403, 405)
            assert refused, f"{method} {route.path}: {answer.status_code}"


def test_no_address_is_taken_for_public_that_is_not_there() -> None:
    assert PUBLIC | OPERATOR | set(NO_SESSION) | set(GUARDED) <= set(PATTERNS)


def test_an_account_without_rights_gets_no_more(house: House) -> None:
    """One that is no staff is a stranger; one of the staff sees the front page, and may change his password."""
    own = {"admin/", "admin/password_change/", "admin/password_change/done/", "admin/jsi18n/"}
    own |= {
        pattern for pattern in PATTERNS if "^" in pattern or "(?P<url>" in pattern or pattern.startswith("admin/r/")
    }
    nobody = User.objects.create_user("nobody")
    trainee = User.objects.create_user("trainee", is_staff=True)
    before = _counts()
    for user, may in ((nobody, set()), (trainee, own)):
        client = client_of(user)
        for route in house.routes():
            if route.is_public or route.pattern in OPERATOR | may:
                continue
            for method in ("get", *UNSAFE):
                answer = getattr(client, method)(route.path)
                # some addresses only lead on, to another page of the admin, which refuses
                refused = told_to_sign_in(answer) or answer.status_code in (401, 403, 405)
                led_back = answer.status_code == 302 and answer.headers["Location"].startswith("/admin/")
                assert refused or led_back, f"{user} {method} {route.path}: {answer.status_code}"
    assert _counts() == before


def test_a_reviewer_reviews_and_does_nothing_else(house: House) -> None:
    """What changes something and is a maintainer's, or the owner's, is refused to him; to look is another thing."""
    client = client_of(a_reviewer("rita"))
    may = {"admin/logout/", "admin/password_change/", *(each for each in PATTERNS if each.startswith("api/v1/review/"))}
    before = _counts()
    for route in house.routes():
        if route.is_public or route.pattern in may | OPERATOR:
            continue
        for method in UNSAFE:
            answer = getattr(client, method)(route.path, {"action": "delete_selected", "post": "yes"})
            assert answer.status_code != 500, f"{method} {route.path}"
            assert answer.status_code in (302, 400, 401, 403, 404, 405, 200), f"{method} {route.path}"
    assert _counts() == before
    assert client.get(house.path_of("admin/letters/export/<uuid:export_id>/download/")).status_code == 403
    assert client.post(house.path_of("api/v1/contributors/<uuid:contributor_id>/mute")).status_code == 403
    assert client.post(house.path_of("api/v1/models/<int:number>/promote"), {"reason": "x"}).status_code == 403


def _counts() -> dict[str, Any]:
    """What a request may have changed."""
    tables = (Drawing, Decision, Export, LetterMap, TrainingRun, Deployment, User, Report)
    found: dict[str, Any] = {table.__name__: table._default_manager.count() for table in tables}
    muted = Drawing.objects.filter(contributor__muted_at=None).count()
    states = list(Drawing.objects.values_list("state", "label", "revision"))
    runs = list(TrainingRun.objects.values_list("state")) + list(LetterMap.objects.values_list("state"))
    return found | {"muted": muted, "states": states, "runs": runs}


def test_what_changes_something_needs_the_csrf_token(house: House) -> None:
    """For somebody who may do everything: else a page elsewhere could have it done in his name."""
    client = client_of(house.admin, enforce_csrf_checks=True)
    client.get("/")  # where a contributor gets his cookie
    for route in house.routes():
        if route.pattern in NO_SESSION:
            continue
        for method in UNSAFE:
            sent = {"reason": "offensive", "confirm": "made up", "everything": True}
            answer = getattr(client, method)(route.path, sent, content_type="application/json")
            content = body(answer)
            if route.pattern in GUARDED:
                assert answer.status_code == 405 or GUARDED[route.pattern].encode() in content, f"{method} {route.path}"
                continue
            by_csrf = answer.status_code == 403 and b"csrf" in content.lower()
            assert by_csrf or answer.status_code == 405, f"{method} {route.path}: {answer.status_code}"


def test_a_public_address_takes_what_it_is_there_for_alone(house: House) -> None:
    takes = {*NO_SESSION, *GUARDED, "samples/<uuid:drawing_id>", "admin/login/", "admin/logout/"}
    client = client_of()
    for route in house.routes():
        if not route.is_public or route.pattern in takes:
            continue
        for method in (*UNSAFE, "trace"):
            answer = getattr(client, method)(route.path)
            assert answer.status_code in (403, 405), f"{method} {route.path}: {answer.status_code}"


# --- What an answer says of itself -----------------------------------------------------------------------------------


def looked_at(
    house: House, client: Client, query: str = "", *, but: str = "^$^"
) -> Iterator[tuple[Route, HttpResponseBase]]:
    """Each address, asked for with GET. /readyz waits for a worker, of which there is none here."""
    for route in house.routes():
        if route.pattern not in {"readyz", "admin/logout/"} and not re.search(but, route.pattern):
            yield route, client.get(route.path + query, headers={"origin": "https://evil.example"})


def test_every_answer_carries_what_keeps_it_safe(house: House) -> None:
    for client in (client_of(), client_of(house.admin)):
        for route, answer in looked_at(house, client):
            assert answer.status_code != 500, route.path
            headers = answer.headers
            assert headers["X-Frame-Options"] == "DENY", route.path
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"], route.path
            assert "unsafe" not in headers["Content-Security-Policy"], route.path
            assert headers["X-Content-Type-Options"] == "nosniff", route.path
            assert headers["Referrer-Policy"] == "same-origin", route.path
            assert headers["Cross-Origin-Opener-Policy"] == "same-origin", route.path
            assert not [name for name in headers if name.startswith("Access-Control-")], route.path
            assert headers["Cache-Control"], route.path


def test_what_is_not_for_all_is_kept_by_no_cache_between(house: House) -> None:
    for route, answer in looked_at(house, client_of(house.admin)):
        if not route.is_public and route.pattern not in OPERATOR | {"admin/jsi18n/"}:
            assert re.search("private|no-store", answer.headers["Cache-Control"]), route.path


def test_cookies_are_not_for_scripts_nor_for_other_sites(house: House) -> None:
    client = client_of()
    client.get("/")
    page = client.get("/admin/login/")
    house.admin.set_password("a-long-password-1")
    house.admin.save()
    form = {"username": house.admin.username, "password": "a-long-password-1"}
    assert page.status_code == 200
    assert client.post("/admin/login/", form).status_code == 302
    assert set(client.cookies) == {"letterloop_contributor", "csrftoken", "sessionid"}
    for name, cookie in client.cookies.items():
        assert cookie["samesite"] == "Lax", name
        assert cookie["path"] == "/", name
        assert not cookie["domain"], name
        assert bool(cookie["httponly"]) is (name != "csrftoken"), name  # which our scripts send along
    assert client.cookies["sessionid"]["max-age"] == 12 * 3600


# --- What people wrote -----------------------------------------------------------------------------------------------


def test_no_text_becomes_code(house: House) -> None:
    """Names, reasons, messages, consents, logs: in every page, for everybody, and for whoever may see all."""
    shown = 0
    for client in (client_of(), client_of(house.admin)):
        for route, answer in looked_at(house, client):
            content = body(answer)
            if "html" in answer.headers.get("Content-Type", ""):
                assert not HARMFUL.search(content), route.path
                shown += b"&lt;img src=x" in content
            elif content:
                assert answer.headers["Content-Type"] != "text/html", route.path
    assert shown > 20  # the texts were there, as texts


@pytest.mark.parametrize("names", ["q", "next a b method space drawing after was state", "o p e _popup label"])
def test_no_query_becomes_code(house: House, names: str) -> None:
    query = "?" + "&".join(f"{name}={quote(PAYLOAD)}" for name in names.split())
    for client, but in (
        (client_of(), "^admin/(?!login)"),
        (client_of(house.admin), "(history|delete|add|object_id>)/$"),
    ):
        for route, answer in looked_at(house, client, query, but=but):
            if "html" in answer.headers.get("Content-Type", ""):
                assert not HARMFUL.search(body(answer)), f"{route.path}{query}"
            assert answer.status_code != 500, f"{route.path}{query}"


def test_no_header_becomes_code(house: House) -> None:
    client = client_of(house.admin)
    told = dict.fromkeys(("user-agent", "referer", "x-request-id", "accept-language", "x-forwarded-for"), PAYLOAD)
    told |= {"x-forwarded-host": "evil.example", "x-original-url": "/admin/", "x-rewrite-url": "/admin/"}
    for route in house.routes():
        if route.pattern in {"readyz", "admin/logout/"}:
            continue
        answer = client.get(route.path, headers=told)
        whole = body(answer) + str(answer.headers).encode()
        assert b"evil.example" not in whole, route.path
        if "html" in answer.headers.get("Content-Type", ""):
            assert not HARMFUL.search(whole), route.path
    assert client_of().get("/nothing", headers=told).status_code == 404


# --- Whereto ---------------------------------------------------------------------------------------------------------

ELSEWHERE = (
    "https://evil.example/",
    "//evil.example/",
    "/\\evil.example",
    "https:evil.example",
    "javascript:alert(1)",
    "/%5Cevil.example",
    "///evil.example",
    "http:///evil.example",
    "\thttps://evil.example",
    "https://localhost@evil.example/",
)


@pytest.mark.parametrize("target", ELSEWHERE)
def test_signing_in_and_out_leads_nowhere_else(house: House, target: str) -> None:
    house.admin.set_password("a-long-password-1")
    house.admin.save()
    form = {"username": house.admin.username, "password": "a-long-password-1", "next": target}
    client = client_of()
    answers = [client.post(f"/admin/login/?next={target}", form), client.get(f"/admin/login/?next={target}")]
    answers += [client.post(f"/admin/logout/?next={target}", {"next": target})]
    for answer in answers:
        location = answer.headers.get("Location", "/")
        assert re.match(r"/(?![/\\])", location), location


@pytest.mark.parametrize(
    "path", ["//evil.example", "//evil.example/admin", "/admin//evil.example", "/%2F/evil.example"]
)
def test_no_address_leads_elsewhere(house: House, path: str) -> None:
    for client in (client_of(), client_of(house.admin)):
        answer = client.get("/", PATH_INFO=path)
        assert not answer.headers.get("Location", "").startswith(("//", "http", "/\\"))


# --- Sessions --------------------------------------------------------------------------------------------------------


def test_a_session_that_somebody_prepared_is_not_taken_over(house: House) -> None:
    """Neither an id that he made up, nor one that the site gave him before."""
    prepared = client_of()
    prepared.cookies["sessionid"] = "a" * 32
    session = client_of().session
    session["told"] = "before"
    session.save()
    given = client_of()
    given.cookies["sessionid"] = str(session.session_key)
    house.admin.set_password("a-long-password-1")
    house.admin.save()
    for client, before in ((prepared, "a" * 32), (given, str(session.session_key))):
        form = {"username": house.admin.username, "password": "a-long-password-1"}
        assert client.post("/admin/login/", form).status_code == 302
        assert client.cookies["sessionid"].value != before
        stranger = client_of()
        stranger.cookies["sessionid"] = before
        assert told_to_sign_in(stranger.get("/admin/"))


def test_a_session_ends_with_signing_out_and_with_another_password(house: House) -> None:
    first, second = client_of(house.admin), client_of(house.admin)
    key = first.cookies["sessionid"].value
    assert first.post("/admin/logout/").status_code in (200, 302)
    thief = client_of()
    thief.cookies["sessionid"] = key
    assert told_to_sign_in(thief.get("/admin/"))
    assert second.get("/admin/").status_code == 200
    house.admin.set_password("another-long-password-2")
    house.admin.save()
    assert told_to_sign_in(second.get("/admin/"))
    house.admin.set_password("a-long-password-1")
    house.admin.save()
    third = client_of(house.admin)
    User.objects.filter(pk=house.admin.pk).update(is_active=False)
    assert told_to_sign_in(third.get("/admin/"))


# --- Fields that nobody asked for ------------------------------------------------------------------------------------


def test_what_a_form_does_not_ask_for_is_not_set(house: House) -> None:
    """A maintainer cannot make himself an owner, nor write what the site writes."""
    maintainer = a_reviewer("mia", "maintainers")
    client = client_of(maintainer)
    more = {
        "is_superuser": "on",
        "user_permissions": ["1"],
        "id": str(uuid.uuid4()),
        "state": "approved",
        "digest": "x",
    }
    passwords = {"old_password": PASSWORD} | dict.fromkeys(("new_password1", "new_password2"), "other-long-word-3")
    assert client.post("/admin/password_change/", passwords | more).status_code == 302
    policy = {"retrain_after": 7, "retrain_kind": "head", "contributor_share": 0.2, "significance": 0.05}
    policy |= {"class_loss": 5, "holdout_minimum": 10, "maps_after": 0}
    client.post("/admin/letters/policy/1/change/", policy | more)
    for table in ("drawing", "trainingrun", "modelversion", "serving", "deployment", "decision", "report", "lettermap"):
        row = house.path_of(f"admin/letters/{table}/<path:object_id>/change/")
        answer = client.post(row, more | {"reason": "x", "character": "A"})
        assert answer.status_code in (200, 302, 403, 404, 405), table  # 200: the page, to be read
    maintainer.refresh_from_db()
    assert not maintainer.is_superuser
    assert not maintainer.user_permissions.exists()
    house.drawing.refresh_from_db()
    assert (house.drawing.state, house.drawing.character) == ("approved", "Z")
    house.model.refresh_from_db()
    assert house.model.digest == "1" * 64
