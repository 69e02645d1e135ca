"""Where packages come from: SLIPWAY_INDEX_URL, otherwise what pip is configured with on this machine.

uv does not read pip's configuration. It is read here at run time and handed to uv in its environment, where,
unlike in an argument list, other users cannot see the credentials an address may hold.
"""

from __future__ import annotations

import configparser
import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings

_PASSED_ON = (
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
    "http_proxy", "https_proxy", "all_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip


@dataclass(frozen=True)
class PackageIndex:
    """Addresses and certificates for uv. `repr` shows none of them: they may hold credentials."""

    environment: Mapping[str, str] = field(repr=False)

    @property
    def identity(self) -> str:
        """A digest that changes when packages would come from somewhere else."""
        places = [
            f"{name}={value}" for name, value in sorted(self.environment.items()) if name.startswith("UV_")
        ]
        return hashlib.sha256("\n".join(places).encode()).hexdigest()


def package_index() -> PackageIndex:
    """The index as it is configured now."""
    pip = _pip_options()
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    if certificate := pip.get("cert"):
        environment["SSL_CERT_FILE"] = certificate
    own = settings.SLIPWAY_INDEX_URL
    if own:
        environment["UV_DEFAULT_INDEX"] = own
        return PackageIndex(environment)
    if index := pip.get("index-url"):
        environment["UV_DEFAULT_INDEX"] = index
    if extra := pip.get("extra-index-url"):
        environment["UV_INDEX"] = " ".join(extra.split())
        # As pip does with them: the best version of all indexes, whichever has it.
        environment["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    if links := pip.get("find-links"):
        environment["UV_FIND_LINKS"] = ",".join(links.split())
    if pip.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        environment["UV_NO_INDEX"] = "1"
    return PackageIndex(environment)


def _pip_options() -> dict[str, str]:
    """pip's own order: global, user and site files, then PIP_CONFIG_FILE, then the environment."""
    options: dict[str, str] = {}
    for path in _pip_files():
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue  # pip itself will complain about it; we need no more than a hint
        for section in ("global", "install"):
            if parser.has_section(section):
                options.update({name.replace("_", "-"): value for name, value in parser.items(section)})
    for name in ("index-url", "extra-index-url", "find-links", "no-index", "cert"):
        value = os.environ.get(f"PIP_{name.replace('-', '_').upper()}")
        if value:
            options[name] = value
    return options


def _pip_files() -> list[Path]:
    named = os.environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    home = Path(os.path.expanduser("~"))
    shared = [
        Path(each, "pip", "pip.conf") for each in os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")
    ]
    config_home = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = [*shared, Path("/etc/pip.conf"), home / ".pip" / "pip.conf", config_home / "pip" / "pip.conf"]
    files.append(Path(sys.prefix, "pip.conf"))
    return [*files, Path(named)] if named else files
