"""A browser: Chromium without a window loads a page through proxyd, whose script reports what it found."""

import json
import queue
import subprocess
import tempfile
import time

from checks import check, true
from origin import PAGES
from websocket_clients import server
from world import HERE, World, tool

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-port=0"
).split()


@check("web: Chromium's page fetches, streams, and speaks by EventSource and WebSocket")
def page(world: World) -> None:
    server(world)
    PAGES["browser.html"] = ("text/html; charset=utf-8", (HERE / "browser.html").read_bytes())
    PAGES["browser.js"] = ("text/javascript; charset=utf-8", (HERE / "browser.js").read_bytes())
    with tempfile.TemporaryDirectory(prefix="interop-", ignore_cleanup_errors=True) as profile:
        said = open(world.folder / "chromium.log", "w", encoding="utf-8")
        command = [tool("chromium"), *FLAGS, f"--user-data-dir={profile}", world.url + "/page/browser.html"]
        process = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            results = json.loads(report(world, process))
        finally:
            process.terminate()
            process.wait(timeout=20)
    wrong = {name: result for name, result in results.items() if result is not True}
    true(len(results) == 12 and not wrong, f"{wrong} of {len(results)}")


def report(world: World, process: subprocess.Popen) -> bytes:
    """What the page tells, unless the browser ends before."""
    until = time.monotonic() + 90
    while time.monotonic() < until:
        try:
            return world.origin.reports.get(timeout=0.5)
        except queue.Empty:
            true(process.poll() is None, f"the browser ended with {process.returncode}")
    raise AssertionError("the page reported nothing")
