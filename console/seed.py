"""What a first start finds: the workspace `default`, its administrator, the `local` connection with examples."""

from __future__ import annotations

import shutil
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction

from console.models import Membership, Role, Workspace
from deployments.services import seed_specifications
from registry.models import Connection

EXAMPLES_BUCKET = "examples"


def seed() -> None:
    """Make whatever of it is missing; safe at every start."""
    with transaction.atomic():
        workspace, _made = Workspace.objects.get_or_create(name="default")
        _seed_admin(workspace)
        seed_specifications()
        root = settings.SLIPWAY_VAR / "objects"
        _copy_examples(settings.BASE_DIR / "examples", root / EXAMPLES_BUCKET)
        Connection.objects.get_or_create(
            workspace=workspace, name="local", defaults={"kind": Connection.LOCAL, "root": str(root)}
        )


def _seed_admin(workspace: Workspace) -> None:
    users = get_user_model()
    admin, made = users.objects.get_or_create(
        username="admin", defaults={"is_staff": True, "is_superuser": True}
    )
    password = settings.SLIPWAY_ADMIN_PASSWORD
    if password and not admin.check_password(password):
        admin.set_password(password)
        admin.save(update_fields=["password"])
    elif made:
        admin.set_unusable_password()
        admin.save(update_fields=["password"])
    Membership.objects.get_or_create(workspace=workspace, user=admin, defaults={"role": Role.ADMIN})


def _copy_examples(source: Path, bucket: Path) -> None:
    """Offer each package under `source` (a folder with `model/`) in `bucket`; what is there stays as it is."""
    bucket.mkdir(parents=True, exist_ok=True)
    for package in sorted(path for path in source.iterdir() if (path / "model").is_dir()):
        if not (bucket / package.name).exists():
            made = bucket / f".{package.name}.part"
            shutil.rmtree(made, ignore_errors=True)
            shutil.copytree(package, made)
            made.rename(bucket / package.name)
