"""Caddy: one processor; it has no limiter of its own, so that its gateway is the access log and a request id."""

import cases
import machine
from peers import Launch, Place, Setup

BINARY = cases.WORK / "venv/bin/caddy"


def version() -> str:
    return machine.first_line([str(BINARY), "version"]).split()[0].lstrip("v")


def launch(setup: Setup, place: Place) -> Launch:
    log = place.folder / "access.log"
    gateway = (
        f"log {{\n output file {log} {{\n roll_disabled\n }}\n format json\n }}\n header X-Request-ID {{http.request.uuid}}"
        if setup.gateway
        else ""
    )
    up = "header_up X-Request-ID {http.request.uuid}" if setup.gateway else ""
    path = place.folder / "Caddyfile"
    path.write_text(
        f"""
{{
    admin off
    auto_https off
    persist_config off
    log default {{
        level ERROR
    }}
}}
http://:{place.port} {{
    bind 127.0.0.1
    {gateway}
    reverse_proxy 127.0.0.1:{place.backend} {{
        {up}
        transport http {{
            keepalive_idle_conns_per_host 256
        }}
    }}
}}
"""
    )
    environment = {"GOMAXPROCS": str(setup.workers), "HOME": str(place.folder), "XDG_DATA_HOME": str(place.folder)}
    command = [str(BINARY), "run", "--config", str(path), "--adapter", "caddyfile"]
    return Launch(command, log if setup.gateway else None, b'"logger":"http.log.access', environment)
