"""Shares and counts as pages write them."""

from __future__ import annotations

from django import template

register = template.Library()
NBSP = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"


@register.filter
def percent(share: float | None, digits: int = 1) -> str:
    """0.9349 as 93.5 %; a dash for what was not measured."""
    return "–" if share is None else f"{100 * share:.{digits}f}{NBSP}%"


@register.filter
def points(difference: float | None, digits: int = 2) -> str:
    """0.0012 as +0.12: percentage points, with their sign."""
    if difference is None:
        return "–"
    rounded = round(100 * difference, digits)
    sign = "+" if rounded > 0 else MINUS if rounded < 0 else "±"
    return f"{sign}{abs(rounded):.{digits}f}"


@register.filter
def grouped(count: int | None) -> str:
    """7400 as 7,400."""
    return "–" if count is None else f"{count:,}"


@register.filter
def spaced(name: str) -> str:
    """ring_of_noise as ring of noise."""
    return name.replace("_", " ")
