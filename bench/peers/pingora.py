"""Pingora: a small program against its crate (bench/pingora), one thread, built with fat LTO."""

import re

import cases
from peers import Launch, Place, Setup

BINARY = cases.WORK / "pingora/release/pingora-peer"


def version() -> str:
    manifest = (cases.ROOT / "bench/pingora/Cargo.toml").read_text()
    found = re.search(r'pingora = \{ version = "=([^"]+)"', manifest)
    return found.group(1) if found else "?"


def launch(setup: Setup, place: Place) -> Launch:
    log = place.folder / "access.log"
    command = [str(BINARY), f"127.0.0.1:{place.port}", f"127.0.0.1:{place.backend}"]
    if setup.gateway:
        command.append(str(log))
    return Launch(command, log if setup.gateway else None)
