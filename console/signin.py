"""One-time sign-in links: printed at start, good for one use within the hour."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.urls import reverse
from django.utils import timezone

from console.models import SignInLink


def issue_link(username: str = "admin") -> str:
    """A link that signs `username` in once. Raises User.DoesNotExist for an unknown name."""
    user = get_user_model().objects.get(username=username, is_active=True)
    token = secrets.token_urlsafe(32)
    now = timezone.now()
    SignInLink.objects.filter(expires_at__lt=now).delete()
    SignInLink.objects.create(
        digest=_digest(token),
        user=user,
        expires_at=now + timedelta(seconds=settings.SLIPWAY_SIGN_IN_LINK_SECONDS),
    )
    base = f"http://{settings.SLIPWAY_HOST}:{settings.SLIPWAY_PORT}"
    return base + reverse("sign_in_link", args=[token])


def redeem(token: str) -> Any | None:
    """The user of a link that is unused and in time, using it up; None otherwise."""
    link = SignInLink.objects.select_related("user").filter(digest=_digest(token)).first()
    if link is None or not SignInLink.objects.filter(pk=link.pk).delete()[0]:
        return None
    return link.user if link.expires_at > timezone.now() and link.user.is_active else None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
