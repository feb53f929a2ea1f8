"""Nothing is kept but by words that were read; when they change, they are asked anew and old letters keep theirs."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
from django.core import signing
from django.http import HttpResponse
from django.test import Client, RequestFactory

from letters import collect, consent, contributors, dataset, errors, mine
from letters.models import Drawing
from tests.letters.collected import CANVAS, a_drawing, a_model
from tests.letters.visitor import Visitor, Z, refused
from tests.running import Site

OTHER = consent.Wording("Keep this drawing and put it on a mug ({licence}).", publishes=False)


@pytest.fixture
def new_words(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the next release may ask."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}  # pages without `collectstatic`
    settings.STORAGES = settings.STORAGES | {"staticfiles": plain}
    monkeypatch.setitem(consent.WORDINGS, "3", OTHER)
    settings.CONSENT_VERSION = "3"


def keep(**changes: Any) -> Drawing:
    """As the API has it kept."""
    model, strokes = a_model(), Z
    fingerprint = collect.fingerprint_of(strokes, CANVAS, CANVAS)
    reading = collect.Reading("Z", 0.9, {"Z": 0.9}, (0, 0), [], {"known": True, "score": 0.5}, model)
    values = {
        "strokes": strokes,
        "width": CANVAS,
        "height": CANVAS,
        "character": "Z",
        "token": collect.make_token(reading, fingerprint=fingerprint, contributor=uuid.uuid4()),
        "consent": True,
        "idempotency_key": "",
        "network": "0" * 32,
    }
    return collect.keep_drawing(**values | changes).drawing


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_it_works(new_words: None) -> None:
    """Old ones keep the words they were given under, and what these allow."""
    before = a_drawing("Z", consent="2")
    kept = keep()
    assert kept.consent == "3"
    before.refresh_from_db()
    assert before.consent == "2"
    Drawing.objects.update(state="approved")
    assert list(dataset.selected("approved")) == [before]


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_words_that_were_read_before_they_changed_are_not_taken_for_the_new_ones(new_words: None) -> None:
    with pytest.raises(errors.ConsentChanged):
        keep(consent_version="2")
    assert not Drawing.objects.exists()
    assert keep(consent_version="3").consent == "3"


@pytest.mark.django_db
def test_the_page_asks_by_the_new_words(new_words: None, client: Client) -> None:
    page = client.get("/").content.decode()
    assert "put it on a mug (CC BY 4.0)." in page
    assert '"consent_version": "3"' in page


def test_words_once_asked_are_never_altered() -> None:
    """A letter was given under them: whoever wants others adds a version."""
    assert {version: (each.words, each.publishes) for version, each in consent.WORDINGS.items()} == {
        "1": (
            "Keep this drawing to teach the model. It is stored with the letter you confirm, without your name; "
            "you get a link to delete it.",
            False,
        ),
        "2": (
            "Keep this drawing with its letter, without your name, to teach the model and to be published ({licence}); "
            "you get a link to delete it.",
            True,
        ),
    }


def test_the_api_refuses_other_words(visitor: Visitor, site: Site) -> None:
    before = site.count("drawing")
    refused(visitor.ask_to_keep(consent_version="1"), 409, "consent_changed", "consent_version")
    refused(visitor.ask_to_keep(consent=False, consent_version="2"), 400, "consent_required", "consent")
    assert site.count("drawing") == before
    assert visitor.ask_to_keep(consent_version="2").status_code == 201


# --- The cookie ----------------------------------------------------------------------------------------------------


def cookie_after(value: str | None, settings: Any) -> Any:
    """The cookie that a browser with this one is given for its contributor; None where it keeps what it has."""
    request = RequestFactory().get("/")
    if value is not None:
        request.COOKIES[settings.CONTRIBUTOR_COOKIE] = value
    response = HttpResponse()
    contributor = contributors.known(request) or uuid.uuid4()
    contributors.remember(request, response, contributor)
    return response.cookies.get(settings.CONTRIBUTOR_COOKIE)


def test_it_is_for_this_site_and_for_no_script(settings: Any) -> None:
    settings.PRODUCTION = True
    given = cookie_after(None, settings)
    assert {name: given[name] for name in ("httponly", "secure", "samesite", "path", "max-age")} == {
        "httponly": True,
        "secure": True,
        "samesite": "Lax",
        "path": "/",
        "max-age": contributors.LIFETIME,
    }


def test_it_is_renewed_month_by_month_and_ends_after_two_years(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given = cookie_after(None, settings).value
    request = RequestFactory().get("/")
    request.COOKIES[settings.CONTRIBUTOR_COOKIE] = given
    whose = contributors.known(request)
    now, day = time.time(), 24 * 3600
    monkeypatch.setattr(time, "time", lambda: now + 29 * day)
    assert cookie_after(given, settings) is None
    monkeypatch.setattr(time, "time", lambda: now + 31 * day)
    renewed = cookie_after(given, settings).value
    monkeypatch.setattr(time, "time", lambda: now + 731 * day)
    assert contributors.known(request) is None
    request.COOKIES[settings.CONTRIBUTOR_COOKIE] = renewed
    assert contributors.known(request) == whose


@pytest.mark.parametrize("by", ["nobody", "another_key", "the_secret_link"])
def test_whom_it_names_is_signed(settings: Any, by: str) -> None:
    """Who knows a contributor's id, or has the secret link, is not that contributor."""
    person = uuid.uuid4()
    made = {
        "nobody": person.hex,
        "another_key": signing.dumps(person.hex, key="n" * 60, salt="letterloop.contributor"),
        "the_secret_link": mine.key_of(person),
    }
    request = RequestFactory().get("/")
    request.COOKIES[settings.CONTRIBUTOR_COOKIE] = made[by]
    assert contributors.known(request) is None
    request.COOKIES[settings.CONTRIBUTOR_COOKIE] = signing.dumps(person.hex, salt="letterloop.contributor")
    assert contributors.known(request) == person


def test_it_outlives_a_change_of_the_secret(settings: Any) -> None:
    given = cookie_after(None, settings).value
    request = RequestFactory().get("/")
    request.COOKIES[settings.CONTRIBUTOR_COOKIE] = given
    whose = contributors.known(request)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "n" * 60
    assert contributors.known(request) == whose
    renewed = cookie_after(given, settings).value  # at once, so that the old key can go
    settings.SECRET_KEY_FALLBACKS = []
    assert contributors.known(request) is None
    request.COOKIES[settings.CONTRIBUTOR_COOKIE] = renewed
    assert contributors.known(request) == whose
