"""What waits for staff, for the front page of the admin."""

from __future__ import annotations

from django import template

from letters import reports

register = template.Library()


@register.simple_tag
def reported_letters() -> int:
    """How many letters were reported and wait for a decision."""
    return reports.waiting()
