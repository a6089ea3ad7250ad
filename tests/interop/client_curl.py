"""curl as a client: methods, uploads, resume, Expect, versions, reuse, limits."""

import hashlib
import json
import pathlib
import re
import subprocess
import time

from checks import check, same, true
from origin import MIB, digest, pieces
from world import World


class Got:
    """What curl brought."""

    def __init__(self, head: str, body: bytes, told: dict, said: str) -> None:
        blocks = [block for block in head.replace("\r\n", "\n").split("\n\n") if block.strip()]
        self.blocks = blocks
        last = blocks[-1].split("\n") if blocks else [""]
        self.headers = [tuple(part.strip() for part in line.split(":", 1)) for line in last[1:] if ":" in line]
        self.body = body
        self.status = told["http_code"]
        self.told = told
        self.said = said

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def json(self) -> dict:
        return json.loads(self.body)


def curl(world: World, path: str, *options: str, sends: pathlib.Path | None = None, exit_code: int = 0) -> Got:
    """Asks proxyd for a path."""
    head, body = world.folder / "curl.head", world.folder / "curl.body"
    head.write_bytes(b"")
    body.write_bytes(b"")
    command = ["curl", "-sS", "--max-time", "100", "-D", str(head), "-o", str(body), "-w", "%{json}"]
    with open(sends or "/dev/null", "rb") as source:
        done = subprocess.run([*command, *options, world.url + path], stdin=source, capture_output=True, check=False)
    said = done.stderr.decode(errors="replace")
    same(done.returncode, exit_code, f"curl's exit code ({said.strip()})")
    return Got(head.read_text("latin-1"), body.read_bytes(), json.loads(done.stdout.splitlines()[-1]), said)


def file_of(world: World, size: int) -> pathlib.Path:
    """A file with the pattern's first bytes."""
    path = world.folder / f"file-{size}"
    if not path.exists():
        with open(path, "wb") as file:
            for piece in pieces(size):
                file.write(piece)
    return path


@check("curl: every method, its target and its headers arrive")
def methods(world: World) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "X-OWN"):
        options = ["-X", method, "-H", "X-Kept: a, b", "-H", "x-kept: c"]
        if method in ("POST", "PUT", "PATCH"):
            options += ["--data", "a=1"]
        saw = curl(world, "/echo/it%20is?q=1&q=%2F", *options).json
        same((saw["method"], saw["target"]), (method, "/echo/it%20is?q=1&q=%2F"))
        same([value for name, value in saw["headers"] if name.lower() == "x-kept"], ["a, b", "c"], method)
        same(saw["length"], 3 if "--data" in options else 0, method)


@check("curl: HEAD tells the length and has no body")
def head(world: World) -> None:
    got = curl(world, "/bytes/12345", "--head")
    same((got.status, got.header("content-length"), got.told["size_download"]), (200, "12345", 0))


@check("curl: uploads of 0, 1, 100 KiB and 50 MiB, by length and by chunks")
def uploads(world: World) -> None:
    for size in (0, 1, 100 * 1024, 50 * MIB):
        path = file_of(world, size)
        saw = curl(world, "/echo/", "-T", str(path)).json
        same((saw["method"], saw["length"], saw["sha256"]), ("PUT", size, digest(size)), f"{size} by length")
        saw = curl(world, "/echo/", "-T", "-", sends=path).json
        same((saw["length"], saw["sha256"], saw["chunked"]), (size, digest(size), True), f"{size} by chunks")
        saw = curl(world, "/echo/", "--data-binary", f"@{path}").json
        same((saw["method"], saw["length"], saw["sha256"]), ("POST", size, digest(size)), f"{size} posted")


@check("curl: a form with files arrives whole")
def form(world: World) -> None:
    saw = curl(world, "/echo/", "-F", "name=value", "-F", f"file=@{file_of(world, 100 * 1024)}").json
    true(saw["length"] > 100 * 1024, f"only {saw['length']} bytes")
    true(any("multipart/form-data" in value for _, value in saw["headers"]), "no multipart type")


@check("curl: Expect is answered 100, the body follows")
def expect_accepted(world: World) -> None:
    for size in (1, 2 * MIB):
        got = curl(world, "/echo/", "-H", "Expect: 100-continue", "-T", str(file_of(world, size)))
        true(got.blocks[0].startswith("HTTP/1.1 100"), f"no 100: {got.blocks[0]}")
        same((got.status, got.json["sha256"]), (200, digest(size)))


@check("curl: Expect is refused with 413 and with 417, the body stays here")
def expect_refused(world: World) -> None:
    path = str(file_of(world, 50 * MIB))
    got = curl(world, "/limited/echo/", "-H", "Expect: 100-continue", "-T", path)
    same((len(got.blocks), got.status, got.json["error"]["code"]), (1, 413, "body_too_large"))
    same(got.told["size_upload"], 0, "uploaded")
    got = curl(world, "/echo/", "-H", "Expect: 200-maybe", "-T", str(file_of(world, 1)))
    same((got.status, got.json["error"]["code"]), (417, "expectation_unknown"))


@check("curl: a body over the limit is refused, by length and by chunks")
def over_limit(world: World) -> None:
    path = file_of(world, 2 * MIB)
    got = curl(world, "/limited/echo/", "-H", "Expect:", "-T", str(path))
    same((got.status, got.header("connection")), (413, "close"))
    got = curl(world, "/limited/echo/", "-H", "Expect:", "-T", "-", sends=path)
    same(got.status, 413)
    same(curl(world, "/limited/echo/", "-T", str(file_of(world, 100 * 1024))).status, 200)


@check("curl: HTTP/1.0 gets its answer by length and by the connection's end")
def old(world: World) -> None:
    got = curl(world, "/bytes/70000", "--http1.0")
    same(hashlib.sha256(got.body).hexdigest(), digest(70000))
    got = curl(world, "/chunks/70000", "--http1.0")
    same((got.header("transfer-encoding"), hashlib.sha256(got.body).hexdigest()), (None, digest(70000)))
    same(curl(world, "/echo/", "--http1.0", "--data", "abc").json["length"], 3)


@check("curl: one connection serves many requests of all kinds")
def reuse(world: World) -> None:
    size = 100 * 1024
    command = ["curl", "-sS", "--max-time", "60", "-w", "%{http_code} %{num_connects}\\n"]
    paths = ["/bytes/10", "/status/204", "/chunks/5000", "/status/304", "/status/404", "/gzip/1000", "/echo/"] * 10
    for path in paths:
        command += ["-o", "/dev/null", world.url + path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    same([int(line[0]) for line in lines], [200, 204, 200, 304, 404, 200, 200] * 10)
    same(sum(int(line[1]) for line in lines), 1, "connections")
    path = file_of(world, size)
    command = ["curl", "-sS", "--max-time", "60", "-w", "%{num_connects}\\n", "-o", "/dev/null", "-o", "/dev/null"]
    done = subprocess.run(
        [*command, "-T", str(path), world.url + "/echo/a", "-T", str(path), world.url + "/echo/b"],
        capture_output=True, text=True, check=True,
    )
    same(done.stdout.split(), ["1", "0"], "connections of two uploads")


@check("curl: 204 and 304 have no body, and keep their headers")
def bodiless(world: World) -> None:
    got = curl(world, "/status/204")
    same((got.status, got.header("content-length"), got.header("x-kept"), got.body), (204, None, "yes", b""))
    got = curl(world, "/status/304")
    same((got.status, got.header("content-length"), got.header("etag"), got.body), (304, "1234", '"abc"', b""))


@check("curl: a gzip answer passes as it is, and curl unpacks it")
def packed(world: World) -> None:
    got = curl(world, "/gzip/300000")
    same(hashlib.sha256(got.body).hexdigest(), got.header("x-packed-sha"))
    got = curl(world, "/gzip/300000", "--compressed")
    same(hashlib.sha256(got.body).hexdigest(), digest(300000))


@check("curl: trailers and chunk extensions of an answer")
def trailers(world: World) -> None:
    got = curl(world, "/trailers/", "-H", "TE: trailers", "-H", "Connection: TE")
    text = "\n".join(got.blocks)
    same(got.body, b"hello")
    true(re.search(r"(?i)x-sum: 42", text), f"no trailer: {text}")
    got = curl(world, "/chunks/3000000")
    same(hashlib.sha256(got.body).hexdigest(), digest(3000000))


@check("curl: header names keep their case, interim answers pass")
def heads(world: World) -> None:
    got = curl(world, "/echo/", "-H", "X-MiXeD: 1")
    true(("X-Mixed-Case", "Kept") in got.headers, f"{got.headers}")
    true(["X-MiXeD", "1"] in got.json["headers"], f"{got.json['headers']}")
    got = curl(world, "/hints/")
    true(got.blocks[0].startswith("HTTP/1.1 103"), f"no hints: {got.blocks}")
    same(got.body, b"after hints\n")


@check("curl: an answer before the upload's end arrives")
def early(world: World) -> None:
    # A client that is still sending when the connection ends may count that as an error (55, 56): the answer is what matters.
    head = world.folder / "early.head"
    for _ in range(5):
        head.write_bytes(b"")
        command = ["curl", "-sS", "--max-time", "20", "-H", "Expect:", "-D", str(head), "-o", "/dev/null"]
        path = str(file_of(world, 50 * MIB))
        done = subprocess.run([*command, "-T", path, world.url + "/early/"], capture_output=True, text=True, check=False)
        true(done.returncode in (0, 55), f"curl's exit code is {done.returncode}: {done.stderr}")
        true(head.read_text().startswith("HTTP/1.1 403"), f"the answer is lost: {head.read_text()!r} {done.stderr}")


@check("curl: events arrive as they are sent")
def events(world: World) -> None:
    for extra in ([], ["--http1.0"]):
        command = ["curl", "-sSN", "--max-time", "30", *extra, world.url + "/events/8"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            delays = [time.time() - float(line[6:]) for line in process.stdout if line.startswith("data: ")]
        same(len(delays), 8)
        true(sorted(delays)[4] < 0.09, f"events were held: {delays}")


@check("curl: headers up to the limits pass, more are answered 431 and 414")
def limits(world: World) -> None:
    fits = [part for number in range(85) for part in ("-H", f"X-Line-{number}: {'v' * 300}")]
    saw = curl(world, "/echo/", *fits).json
    same(sum(name.startswith("X-Line-") for name, _ in saw["headers"]), 85)
    many = [part for number in range(101) for part in ("-H", f"X-Line-{number}: v")]
    same(curl(world, "/echo/", *many).status, 431)
    same(curl(world, "/echo/", "-H", f"X-Large: {'v' * 33000}").status, 431)
    same(curl(world, "/echo/?" + "q" * 8000).status, 200)
    same(curl(world, "/echo/?" + "q" * 9000).status, 414)


@check("curl: 200 MiB arrive as they were sent, by length and by chunks")
def large(world: World) -> None:
    size = 200 * MIB
    expected = digest(size)
    for path in (f"/bytes/{size}", f"/close/{size}"):
        hashed = hashlib.sha256()
        command = ["curl", "-sS", "--max-time", "100", world.url + path]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            while piece := process.stdout.read(MIB):
                hashed.update(piece)
        same((process.returncode, hashed.hexdigest()), (0, expected), path)


@check("curl: 300 requests in parallel")
def parallel(world: World) -> None:
    command = ["curl", "-sS", "--max-time", "60", "--parallel", "--parallel-immediate", "--parallel-max", "100"]
    command += ["-w", "%{http_code} %{size_download}\\n"]
    for number in range(300):
        command += ["-o", "/dev/null", f"{world.url}/bytes/{number * 100}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = sorted(done.stdout.splitlines(), key=lambda line: int(line.split()[1]))
    same(found, [f"200 {number * 100}" for number in range(300)])
