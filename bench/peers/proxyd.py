"""proxyd: one worker; as a gateway everything is on: limit, ids, access log, metrics, and the audit of every request."""

import json
import pathlib

import machine
from peers import Launch, Place, Setup, free_port, route_path

binary = pathlib.Path("proxyd")  # set by the options of the run
other: pathlib.Path | None = None  # a second one beside it


def version() -> str:
    return machine.first_line([str(binary), "--version"]).split()[-1]


def config(setup: Setup, place: Place) -> dict:
    """Its config; JSON is a form of it."""
    target = {"target": f"http://127.0.0.1:{place.backend}"}
    if setup.endpoints:
        target = {"upstream": "backend"}
    routes = [{"path": route_path(number, setup.routes)} | target for number in range(setup.routes)]
    listen: dict | str = f"127.0.0.1:{place.port}"
    if setup.tls:
        pair = {"cert": str(place.folder / "cert.pem"), "key": str(place.folder / "key.pem")}
        listen = {"address": listen, "tls": {"certificates": [pair]}}
    made: dict = {
        "server": {
            "listen": [listen],
            "workers": setup.workers,
            "state_dir": str(place.folder / "state"),
            "limits": {"connections": 20000},
        },
        "admin": {"listen": f"127.0.0.1:{free_port()}", "socket": str(place.folder / "control.sock")},
        "log": {"access": str(place.folder / "access.log") if setup.gateway else "off"},
        "routes": routes or [{"path": "/"} | target],
    }
    if setup.endpoints:
        endpoints = [f"http://127.0.0.{1 + number}:{place.backend}" for number in range(setup.endpoints)]
        made["upstreams"] = {"backend": {"endpoints": endpoints} | json.loads(setup.upstream or "{}")}
    if setup.gateway:
        made["rate_limit"] = {"limits": [{"requests": 4000000000, "per": "1m"}]}
    else:
        made["audit"] = {"requests": "off"}
    return made


def launch(setup: Setup, place: Place) -> Launch:
    path = place.folder / "config.json"
    path.write_text(json.dumps(config(setup, place)))
    return Launch(
        [str(other if setup.other else binary), "--config", str(path)],
        place.folder / "access.log" if setup.gateway else None,
        audit=place.folder / "state/audit" if setup.gateway else None,
    )
