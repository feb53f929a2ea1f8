"""Who guesses the passwords of staff is locked out, and knows nothing more by it than before."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
import requests

from letters.logins import OF_ACCOUNT, OF_NETWORK
from tests.letters.test_admin import log_in
from tests.letters.test_pages import POLICY, inline_code, policy
from tests.letters.training import MAKE_USER, PASSWORD
from tests.letters.visitor import Visitor, not_when_counts_begin_anew
from tests.running import Site

LIMIT = 10
NAME = "grace"
ROWS = "SELECT username, ip_address, user_agent, failures_since_start FROM axes_accessattempt"
ADD = """
import django; django.setup()
from axes.models import AccessAttempt
AccessAttempt.objects.create(
    username={name!r}, ip_address={address!r}, user_agent="of another", failures_since_start={failures}
)
"""
UNLOCK = f"""
import django; django.setup()
from django.core.management import call_command
call_command("unlock", {NAME!r})
"""
FORGET = "import django; django.setup(); from letters import tasks; tasks.watch()"

pytestmark = pytest.mark.slow  # to check a password takes long, and is meant to


@pytest.fixture(autouse=True)
def _not_when_counts_begin_anew() -> None:
    not_when_counts_begin_anew(90)


@pytest.fixture(autouse=True)
def _nobody_is_locked_out(frail_site: Site) -> Iterator[None]:
    yield
    frail_site.rows("DELETE FROM axes_accessattempt")


@pytest.fixture(scope="module", autouse=True)
def _a_maintainer(frail_site: Site) -> None:
    frail_site.python(MAKE_USER.format(name=NAME, password=PASSWORD, group="maintainers"))


def guess(visitor: Visitor, times: int, name: str = NAME) -> list[int]:
    """The answers to wrong passwords."""
    return [log_in(visitor, name, f"wrong password {number}").status_code for number in range(times)]


def is_locked_out(response: requests.Response) -> bool:
    return response.status_code == 429


def test_it_works(frail_visitor: Callable[[], Visitor]) -> None:
    """Nine wrong ones, and the right one signs in and wipes them out."""
    visitor = frail_visitor()
    assert guess(visitor, LIMIT - 1) == [200] * (LIMIT - 1)
    assert log_in(visitor, NAME, PASSWORD).status_code == 302
    assert frail_visitor().site.rows(ROWS) == []


def test_the_tenth_wrong_password_is_the_last(frail_visitor: Callable[[], Visitor]) -> None:
    visitor, elsewhere = frail_visitor(), frail_visitor()
    address = str(visitor.headers["X-Forwarded-For"])
    for number in range(
        LIMIT - 1
    ):  # whatever is made up in front of the address, and whatever browser it is said to be
        visitor.headers.update({"X-Forwarded-For": f"172.16.0.{number}, {address}", "User-Agent": f"browser {number}"})
        assert log_in(visitor, NAME, "a wrong password").status_code == 200
    assert is_locked_out(log_in(visitor, NAME, "a wrong password"))
    page = log_in(visitor, NAME, PASSWORD)
    assert is_locked_out(page)
    assert "for 30 minutes nobody can sign in here by this name from this network" in page.text
    assert page.headers["Retry-After"] == "1800"
    assert policy(page.headers["Content-Security-Policy"]) == POLICY
    assert inline_code(page.text) == []
    assert "sessionid" not in visitor.cookies
    assert log_in(elsewhere, NAME, PASSWORD).status_code == 302  # it is shut for who guessed, and for nobody else


def test_a_name_that_nobody_has_is_locked_like_any_other(frail_visitor: Callable[[], Visitor]) -> None:
    """So the answer does not tell which names there are."""
    visitor = frail_visitor()
    assert guess(visitor, LIMIT, "nobody") == [200] * (LIMIT - 1) + [429]
    theirs = frail_visitor()
    guess(theirs, LIMIT)

    def said(response: requests.Response) -> str:
        return re.sub(r'nonce="[^"]*"', "", response.text)

    assert said(log_in(visitor, "nobody", "x")) == said(log_in(theirs, NAME, "x"))


def test_a_command_lets_somebody_in(frail_site: Site, frail_visitor: Callable[[], Visitor]) -> None:
    visitor = frail_visitor()
    guess(visitor, LIMIT)
    said = frail_site.python(UNLOCK)
    assert said.strip() == f"{LIMIT} wrong passwords for {NAME} forgotten."
    assert log_in(visitor, NAME, PASSWORD).status_code == 302


def test_an_account_and_a_network_have_an_end_too(frail_site: Site, frail_visitor: Callable[[], Visitor]) -> None:
    """Many networks that guess one password, and one network that tries one password on many accounts."""
    visitor = frail_visitor()
    frail_site.python(ADD.format(name=NAME, address="fd00::1", failures=OF_ACCOUNT - 1))
    assert guess(visitor, 1) == [200]
    assert is_locked_out(log_in(visitor, NAME, PASSWORD))
    frail_site.rows("DELETE FROM axes_accessattempt")
    guess(visitor, 1, "first")
    (row,) = frail_site.rows(ROWS)
    frail_site.python(ADD.format(name="many", address=str(row["ip_address"]), failures=OF_NETWORK - 2))
    assert guess(visitor, 1, "second") == [200]
    assert is_locked_out(log_in(visitor, NAME, PASSWORD))


def test_the_log_says_who_was_refused_and_nothing_else(frail_site: Site, frail_visitor: Callable[[], Visitor]) -> None:
    """A wrong password by the name of the account, and that it was locked; of a name that nobody has, which may be a
    password, nothing. Who signs in and out leaves no line."""
    visitor, before = frail_visitor(), len(frail_site.web.log())
    assert log_in(visitor, NAME, PASSWORD).status_code == 302
    visitor.post("/admin/logout/", data={"csrfmiddlewaretoken": visitor.cookies["csrftoken"]})
    assert frail_site.web.log()[before:] == ""
    assert guess(visitor, 1, "my-password-in-the-wrong-field") == [200]
    assert guess(visitor, LIMIT)[-1] == 429
    said = frail_site.web.log()[before:].splitlines()
    assert sum("New login failure by the account grace." in line for line in said) == 1
    assert sum("Repeated login failure by the account grace." in line for line in said) == LIMIT - 1
    assert sum("Locking out the account grace after" in line for line in said) == 1
    assert sum("New login failure by a name that nobody has." in line for line in said) == 1
    assert len(said) == LIMIT + 2
    assert all(line.startswith("WARNING axes.") for line in said)
    secrets = (str(visitor.headers["X-Forwarded-For"]), "127.0.0.1", "fd", "my-password", "wrong password", PASSWORD)
    assert not [each for each in secrets if each in "\n".join(said)]


def test_no_address_is_kept_and_nothing_for_long(frail_site: Site, frail_visitor: Callable[[], Visitor]) -> None:
    visitor = frail_visitor()
    guess(visitor, 2)
    (row,) = frail_site.rows(ROWS)
    assert str(row["ip_address"]).startswith("fd")
    noted = str(frail_site.rows("SELECT * FROM axes_accessattempt"))
    secrets = (str(visitor.headers["X-Forwarded-For"]), "127.0.0.1", "wrong password")
    assert not [each for each in secrets if each in noted]
    frail_site.rows("UPDATE axes_accessattempt SET attempt_time = %s", "2026-01-01 00:00:00+00:00")
    frail_site.python(FORGET)
    assert frail_site.rows(ROWS) == []
    assert log_in(visitor, NAME, PASSWORD).status_code == 302
    for table in ("accesslog", "accessfailurelog"):
        assert frail_site.rows(f"SELECT * FROM axes_{table}") == []
