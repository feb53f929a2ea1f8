"""The first person who may enter the admin."""

import secrets
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand
from django.db import transaction


class Command(BaseCommand):
    help = "Make the first staff user, with a random password that is printed once. Does nothing where there is one."

    def handle(self, *args: Any, **options: Any) -> None:
        made = make_first_staff()
        if made is None:
            self.stdout.write("There is a staff user already: manage.py changepassword NAME gives one a new password.")
        else:
            self.stdout.write("User {}, password {} (shown this once)".format(*made))


@transaction.atomic
def make_first_staff() -> tuple[str, str] | None:
    """Name and password of a new superuser; None where one exists."""
    if User.objects.filter(is_superuser=True).exists():
        return None
    name = "staff" if not User.objects.filter(username="staff").exists() else f"staff-{secrets.token_hex(2)}"
    password = secrets.token_urlsafe(12)
    User.objects.create_superuser(name, password=password)
    return name, password
