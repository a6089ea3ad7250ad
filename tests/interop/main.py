"""Starts the world and runs every family of checks.

Usage: main.py PROXYD FOLDER [WORD…]
"""

import pathlib
import socket
import sys

import backend_nginx  # noqa: F401
import backends  # noqa: F401
import browser  # noqa: F401
import checks
import client_curl  # noqa: F401
import client_stock  # noqa: F401
import clients_python  # noqa: F401
import websocket_clients  # noqa: F401
from world import World

if __name__ == "__main__":
    socket.setdefaulttimeout(60)
    with World(sys.argv[1], pathlib.Path(sys.argv[2]) / "run") as world:
        well = checks.run(world, sys.argv[3:])
    if world.daemon.process.returncode != 0:
        well = False
        print(f"FAIL proxyd: it ended with {world.daemon.process.returncode}")
    sys.exit(0 if well else 1)
