"""Runs the checks of whole protocols, each family in front of its own servers.

Usage: suites.py PROXYD FOLDER [WORD…]
"""

import pathlib
import socket
import sys

import checks
import suite_autobahn  # noqa: F401
import suite_clients  # noqa: F401
import suite_grpc  # noqa: F401
import suite_grpc_ends  # noqa: F401
import suite_memory  # noqa: F401
import suite_slow  # noqa: F401
import suite_streams  # noqa: F401
import suite_tls  # noqa: F401
import suite_upstreams  # noqa: F401
import suite_websocket  # noqa: F401
import suite_websocket_h2  # noqa: F401
from ground import Ground

if __name__ == "__main__":
    socket.setdefaulttimeout(60)
    with Ground(sys.argv[1], pathlib.Path(sys.argv[2]) / "suites") as ground:
        well = checks.run(ground, sys.argv[3:])
    sys.exit(0 if well and ground.ended_well else 1)
