"""Pure functions from routes to what Envoy 1.40 reads: RDS and CDS resources. No file, no clock, no
Envoy.

The fixed part (listener, filters, error answers) is `envoy_bootstrap.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from deployments.gateway import answers
from deployments.gateway.base import DEFAULT_BODY_BYTES, PREFIX, Backend, Route

Json = dict[str, Any]

TYPE = "type.googleapis.com/"
ROUTE_CONFIG = (
    "gateway"  # name of the one RDS resource, of its virtual host, and the prefix of the HTTP statistics
)
KEY_FILTER = "envoy.filters.http.api_key_auth"
LIMIT_FILTER = "slipway.body_limit"
_VERSION_OF_INSTANCE = "%UPSTREAM_METADATA(slipway:version)%"  # set by `_instances`
_IDLE_STREAM_SECONDS = 300
# Below the keep-alive time of the model servers (uvicorn: 5 s): whoever closes an idle connection must be
# Envoy, otherwise a request can be written into a connection that the server is just closing, and is lost.
_UPSTREAM_IDLE = "4s"
# Envoy keeps a copy of what it may have to send again. For larger bodies the copy cost a quarter of its time
# (602 KB: 1.31 against 0.99 ms of CPU a call), and all that it buys is the first large call that meets an
# instance which just died.
_RETRY_BYTES = 64 * 1024


def pack(resources: Sequence[Json]) -> bytes:
    """A discovery file: the resources and a version that is the digest of their content.

    Equal content has an equal version, so "is it applied" and "has it changed" are comparisons of versions.
    """
    body = json.dumps(resources, sort_keys=True)
    version = hashlib.sha256(body.encode()).hexdigest()[:16]
    return f'{{"version_info": "{version}", "resources": {body}}}\n'.encode()


def version_of(content: bytes) -> str | None:
    """The version of a discovery file, None if the content is not one (half-written, edited by hand)."""
    try:
        document = json.loads(content)
        return document["version_info"] if isinstance(document["resources"], list) else None
    except (ValueError, KeyError, TypeError):
        return None


def clusters_in(content: bytes) -> dict[str, Json]:
    """The clusters of a CDS file by name; empty if it is not one."""
    if version_of(content) is None:
        return {}
    return {resource["name"]: resource for resource in json.loads(content)["resources"]}


def backends(routes: Iterable[Route]) -> dict[str, Backend]:
    """The live backends by cluster name: only these become clusters, nothing is routed to an empty one."""
    return {backend.cluster: backend for route in routes for backend in route.live}


# --- clusters -----------------------------------------------------------------------------------------------


def clusters(live: Iterable[Backend]) -> list[Json]:
    """CDS: one cluster per version, its instances inside.

    Not EDS: Envoy opens one inotify instance for every file that it watches, a user has 128 of them on a
    stock Linux, and Envoy aborts when it gets no more. Replacing a cluster is as smooth: calls in flight end
    where they are (tested under load).
    """
    return [_cluster(backend) for backend in sorted(live, key=lambda b: b.cluster)]


def _cluster(backend: Backend) -> Json:
    return {
        "@type": TYPE + "envoy.config.cluster.v3.Cluster",
        "name": backend.cluster,
        "type": "STATIC",
        "load_assignment": _instances(backend),
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",  # predictions differ in length; a busy instance must not queue them
        "common_lb_config": {
            # Only when every instance is ejected does Envoy try them all the same: a lone instance that came
            # back after a crash answers at once instead of waiting for the end of its ejection.
            "healthy_panic_threshold": {"value": 1.0},
        },
        # Retries are a part of normal life here (an instance died), the default of 3 at a time would refuse
        # them.
        "circuit_breakers": {
            "thresholds": [{"max_retries": 1024, "max_requests": 4096, "max_pending_requests": 4096}]
        },
        "outlier_detection": {
            # Ours are failures to connect, to answer in time, or a broken connection. What the model itself
            # answers, a 500 too, says nothing about the instance.
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 1,
            "enforcing_consecutive_local_origin_failure": 100,
            "enforcing_local_origin_success_rate": 0,
            "enforcing_consecutive_5xx": 0,
            "enforcing_consecutive_gateway_failure": 0,
            "enforcing_success_rate": 0,
            "interval": "1s",
            "base_ejection_time": "5s",
            "max_ejection_time": "30s",
            "max_ejection_percent": 100,
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": TYPE + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http_protocol_options": {}},
                "common_http_protocol_options": {"idle_timeout": _UPSTREAM_IDLE},
            }
        },
    }


def _instances(backend: Backend) -> Json:
    # The version label travels with the instance, so `x-model-version` is the version that really took the
    # call, and an answer that no model gave (401, 413, 503) does not tell it.
    metadata = {"filter_metadata": {"slipway": {"version": backend.version_label}}}
    pipes = [{"pipe": {"path": address}} for address in sorted(backend.addresses)]
    return {
        "cluster_name": backend.cluster,
        "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": pipe}, "metadata": metadata} for pipe in pipes]}
        ],
    }


def file_source(path: Path) -> Json:
    """A discovery source that re-reads one file whenever something is renamed onto it."""
    return {
        "path_config_source": {"path": str(path)},
        "resource_api_version": "V3",
        "initial_fetch_timeout": "5s",
    }


# --- routes -------------------------------------------------------------------------------------------------


def route_configuration(routes: Iterable[Route]) -> list[Json]:
    """RDS: one route per service, then the answers for every other address."""
    table = [_route(route) for route in sorted(routes, key=lambda r: r.service_id)]
    table.append(_fixed({"path": PREFIX}, answers.NO_SERVICE_ID))
    table.append(_fixed({"path": PREFIX + "/"}, answers.NO_SERVICE_ID))
    table.append(_fixed({"prefix": PREFIX + "/"}, answers.NO_SERVICE))
    table.append(_fixed({"prefix": "/"}, answers.BAD_ADDRESS))
    return [
        {
            "@type": TYPE + "envoy.config.route.v3.RouteConfiguration",
            "name": ROUTE_CONFIG,
            "virtual_hosts": [
                {
                    "name": ROUTE_CONFIG,
                    "domains": ["*"],
                    "routes": table,
                    "response_headers_to_add": [_set_header("x-model-version", _VERSION_OF_INSTANCE)],
                }
            ],
        }
    ]


def _route(route: Route) -> Json:
    rendered: Json = {
        # The prefix ends at a slash or at the end: `/v1/infers/a` is not `/v1/infers/ab`.
        "match": {"path_separated_prefix": f"{PREFIX}/{route.service_id}"},
        "name": route.service_id,
        "stat_prefix": route.service_id,
        "request_body_buffer_limit": _RETRY_BYTES,
        "typed_per_filter_config": {KEY_FILTER: _keys(route)},
    }
    live = route.live
    if not live:
        body = answers.unavailable(route.unavailable)
        return rendered | {"direct_response": {"status": 503, "body": {"inline_string": body}}}
    if route.body_bytes != DEFAULT_BODY_BYTES:
        rendered["typed_per_filter_config"][LIMIT_FILTER] = {
            "@type": TYPE + "envoy.extensions.filters.http.filter_chain.v3.FilterChainConfigPerRoute",
            "filter_chain": body_limit(route.body_bytes),
        }
    return rendered | {
        # Whichever header carried the key, none of them reaches the model; nor does where the call came from.
        "request_headers_to_remove": [*(h.lower() for h in answers.KEY_HEADERS), "x-envoy-external-address"],
        "route": {
            **_targets(live),
            "regex_rewrite": {"pattern": {"regex": f"^{PREFIX}/[^/]+/?"}, "substitution": "/"},
            "timeout": f"{route.timeout_seconds}s",
            "idle_timeout": f"{max(_IDLE_STREAM_SECONDS, route.timeout_seconds + 10)}s",
            "retry_policy": {
                # Only what surely never reached a model is sent again, once, and to another instance if there
                # is one.
                "retry_on": "connect-failure,refused-stream",
                "num_retries": 1,
                "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.005s"},
                "retry_host_predicate": [
                    {
                        "name": "envoy.retry_host_predicates.previous_hosts",
                        "typed_config": {
                            "@type": TYPE
                            + "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                        },
                    }
                ],
                "host_selection_retry_max_attempts": 5,
            },
        },
    }


def _targets(live: tuple[Backend, ...]) -> Json:
    if len(live) == 1:
        return {"cluster": live[0].cluster}
    return {"weighted_clusters": {"clusters": [{"name": b.cluster, "weight": b.weight} for b in live]}}


def _keys(route: Route) -> Json:
    """The credentials of one service; with none of them, the filter answers 401 to everybody (tested)."""
    unique = {key: name or "key" for name, key in reversed(route.keys)}  # Envoy refuses the same key twice
    return {
        "@type": TYPE + "envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuthPerRoute",
        "credentials": [{"key": key, "client": name} for key, name in sorted(unique.items())],
    }


def body_limit(max_bytes: int) -> Json:
    """A filter chain that refuses larger bodies with 413 while streaming, never buffering."""
    return {
        "filters": [
            {
                "name": "limit",
                "typed_config": {
                    "@type": TYPE + "envoy.extensions.filters.http.body_size_limit.v3.BodySizeLimit",
                    "max_request_bytes": max_bytes,
                },
            }
        ]
    }


def _fixed(match: Json, answer: answers.Answer) -> Json:
    """An address that needs no key because there is nothing behind it."""
    return {
        "match": match,
        "direct_response": {"status": answer.status, "body": {"inline_string": answer.body()}},
        "typed_per_filter_config": {
            KEY_FILTER: {"@type": TYPE + "envoy.config.route.v3.FilterConfig", "disabled": True}
        },
    }


def _set_header(key: str, value: str) -> Json:
    return {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
