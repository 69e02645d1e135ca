"""`manage.py link USER`: print a one-time sign-in link."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from console import signin


class Command(BaseCommand):
    help = "Print a link that signs USER in once, within the hour."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("user", nargs="?", default="admin")

    def handle(self, *args: Any, user: str, **options: Any) -> None:
        try:
            self.stdout.write(signin.issue_link(user))
        except get_user_model().DoesNotExist:
            raise CommandError(f"there is no active user {user!r}") from None
