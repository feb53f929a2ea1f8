"""Staff at the browser: by the form once, and then with the session that they got there."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from tests.running import Site

_sessions: dict[tuple[str, str], list[Any]] = {}


def go_as(page: Page, site: Site, name: str, password: str, path: str) -> None:
    """Open a page of the admin; by the form the first time only, as to check a password takes its time."""
    cookies = _sessions.get((site.base_url, name))
    if cookies is None:
        sign_in(page, name, password)
        _sessions[site.base_url, name] = page.context.cookies()
    else:
        page.context.add_cookies(cookies)
    page.goto(path)


def sign_in(page: Page, name: str, password: str) -> None:
    """By the form."""
    page.goto("/admin/login/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
