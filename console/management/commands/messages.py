"""`manage.py messages`: refresh the translation catalogues; `--check` only says what is wrong."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from console import messages


class Command(BaseCommand):
    help = "Extract translatable strings, merge them into the catalogues and compile these."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument(
            "--check", action="store_true", help="write nothing; fail on missing or stale strings"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        for language in messages.LANGUAGES:
            if not options["check"]:
                messages.write(messages.update(settings.BASE_DIR, language), language)
            wrong = messages.faults(settings.BASE_DIR, language)
            for line in wrong:
                self.stderr.write(f"{language}: {line}")
            if wrong and options["check"]:
                raise CommandError(f"{len(wrong)} faults in the catalogue of {language}")
