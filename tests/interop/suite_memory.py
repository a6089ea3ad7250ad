"""A GiB each way through every pair of protocols, in bounded memory; SUITE_MIB sets another size."""

import os
import subprocess
import time

from checks import check, same, true
from ground import MIB, Ground
from suite_clients import front

SIZE = int(os.environ.get("SUITE_MIB", "1024")) * MIB
MOST = 32 * MIB
WAYS = {
    "HTTP/1.1": (False, "--http1.1"),
    "TLS": (True, "--http1.1"),
    "HTTP/2": (False, "--http2-prior-knowledge"),
    "HTTP/2 over TLS": (True, "--http2"),
}
UPSTREAMS = {"HTTP/1.1": "", "HTTP/2": "/node"}


def transfer(ground: Ground, way: str, upstream: str, upload: bool) -> None:
    """Moves it, and compares the most memory there was with what there was before."""
    proxyd = front(ground)
    secure, version = WAYS[way]
    command = [
        "curl",
        "-sS",
        "--max-time",
        "380",
        "--cacert",
        ground.pem("ca"),
        version,
        "-o",
        "/dev/null",
        "-w",
        "%{http_code} %{size_download} %{size_upload}",
    ]
    url = proxyd.url(secure) + UPSTREAMS[upstream]
    # A small one first: connections and threads are there before it is measured.
    subprocess.run([*command, url + "/bytes/1000"], check=True, capture_output=True, timeout=30)
    if upload:
        file = ground.folder / "large"
        with open(file, "wb") as sparse:
            sparse.truncate(SIZE)
        command += ["-T", str(file), "-H", "Expect:", url + "/echo/"]
    else:
        command += [f"{url}/bytes/{SIZE}"]
    proxyd.forget_most()
    before, _ = proxyd.memory()
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=390, check=False)
    took = time.monotonic() - began
    most = proxyd.memory()[1]
    grew = (most - before) / MIB
    what = "up" if upload else "down"
    memory = f"{before / MIB:.1f} MiB before, {most / MIB:.1f} MiB at most (+{grew:.1f})"
    print(f"   {SIZE // MIB} MiB {what}, {way} to {upstream}: {memory}, {took:.0f} s")
    same(done.returncode, 0, done.stderr[-200:])
    status, downloaded, uploaded = (int(word) for word in done.stdout.split())
    same((status, uploaded if upload else downloaded), (200, SIZE))
    true(most - before < MOST, f"it grew by {grew:.1f} MiB")


def register(way: str, upstream: str, upload: bool) -> None:
    @check(f"memory: {SIZE // MIB} MiB {'up' if upload else 'down'}, {way} to {upstream}", 400)
    def run(ground: Ground) -> None:
        transfer(ground, way, upstream, upload)


for one_upstream in UPSTREAMS:
    for one_way in WAYS:
        for up in (False, True):
            register(one_way, one_upstream, up)
