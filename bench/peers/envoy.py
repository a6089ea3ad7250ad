"""Envoy: concurrency 1; as a gateway the local rate limit (one for all clients), request ids and the file access log."""

import json

import cases
import machine
from peers import Launch, Place, Setup

BINARY = cases.WORK / "venv/bin/envoy"


def version() -> str:
    return machine.first_line([str(BINARY), "--version"]).rpartition("version: ")[2].split("/")[1]


def _kind(name: str) -> str:
    return f"type.googleapis.com/envoy.extensions.{name}"


def launch(setup: Setup, place: Place) -> Launch:
    log = place.folder / "access.log"
    filters = []
    manager = {
        "@type": _kind("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "front",
        "generate_request_id": setup.gateway,
        "always_set_request_id_in_response": setup.gateway,
        "use_remote_address": True,
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "backend"}}],
                }
            ]
        },
    }
    if setup.gateway:
        bucket = {"max_tokens": 4000000000, "tokens_per_fill": 4000000000, "fill_interval": "1s"}
        always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
        filters.append(
            {
                "name": "limit",
                "typed_config": {
                    "@type": _kind("filters.http.local_ratelimit.v3.LocalRateLimit"),
                    "stat_prefix": "limit",
                    "token_bucket": bucket,
                    "filter_enabled": always,
                    "filter_enforced": always,
                },
            }
        )
        line = {
            "time": "%START_TIME%",
            "request_id": "%REQ(X-REQUEST-ID)%",
            "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
            "method": "%REQ(:METHOD)%",
            "host": "%REQ(:AUTHORITY)%",
            "path": "%REQ(:PATH)%",
            "protocol": "%PROTOCOL%",
            "status": "%RESPONSE_CODE%",
            "bytes_in": "%BYTES_RECEIVED%",
            "bytes_out": "%BYTES_SENT%",
            "duration_ms": "%DURATION%",
            "upstream": "%UPSTREAM_HOST%",
            "user_agent": "%REQ(USER-AGENT)%",
        }
        manager["access_log"] = [
            {
                "name": "file",
                "typed_config": {
                    "@type": _kind("access_loggers.file.v3.FileAccessLog"),
                    "path": str(log),
                    "log_format": {"json_format": line},
                },
            }
        ]
    filters.append({"name": "router", "typed_config": {"@type": _kind("filters.http.router.v3.Router")}})
    manager["http_filters"] = filters

    def address(port: int) -> dict:
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    many = {"thresholds": [{"max_connections": 60000, "max_pending_requests": 60000, "max_requests": 60000}]}
    listener = {
        "name": "front",
        "address": address(place.port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    endpoint = {"lb_endpoints": [{"endpoint": {"address": address(place.backend)}}]}
    cluster = {
        "name": "backend",
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": many,
        "load_assignment": {"cluster_name": "backend", "endpoints": [endpoint]},
    }
    path = place.folder / "envoy.json"
    path.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
    command = [
        str(BINARY),
        "-c",
        str(path),
        "--concurrency",
        str(setup.workers),
        "--log-level",
        "error",
        "--disable-hot-restart",
    ]
    return Launch(command, log if setup.gateway else None)
