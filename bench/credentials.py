"""Credentials of each kind, and the services that stand behind some: the issuer of opaque tokens, and a stand-in for GitHub.

Keys are made by openssl and tokens are signed by it, so that nothing has to be installed for Python.
"""

import base64
import hmac
import http.client
import http.server
import json
import pathlib
import subprocess
import threading
import time
import urllib.parse

SECRET = "a-secret-of-the-benchmark-0123456789abcdef"
PASSWORD = "correct horse"
# As `proxyctl hash-password` prints it.
PASSWORD_HASH = "$argon2id$v=19$m=19456,t=2,p=1$TuemzHj4y56WLK/UaXllkg$YKYM2/7d2PF67KQenwnMbZeKcGIMv/vJSFzba+pyBl4"
CLIENT = ("bench", "a-client-secret")
LIFETIME_S = 3 * 3600
HOST = "api.example.com"

_GENERATED = {
    "RS256": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    "ES256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "EdDSA": ["-algorithm", "ED25519"],
}


def _encoded(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def _openssl(*words: str) -> bytes:
    return subprocess.run(["openssl", *words], check=True, capture_output=True).stdout


def public_key(algorithm: str, folder: pathlib.Path) -> pathlib.Path:
    """Makes a pair of keys; the file of the public one."""
    private, public = folder / f"{algorithm}.pem", folder / f"{algorithm}.public.pem"
    _openssl("genpkey", *_GENERATED[algorithm], "-out", str(private))
    _openssl("pkey", "-in", str(private), "-pubout", "-out", str(public))
    return public


def claims(number: int = 0) -> dict:
    """What a provider's access token says, about as much as is usual."""
    now = int(time.time())
    return {
        "iss": "https://id.example.com",
        "aud": ["api"],
        "sub": "5f2c81d0-ada",
        "iat": now,
        "nbf": now,
        "exp": now + LIFETIME_S,
        "jti": f"t{number:08}",
        "email": "ada@example.com",
        "scope": "read write",
        "roles": ["admin", "user"],
    }


def token(algorithm: str, folder: pathlib.Path, number: int = 0) -> str:
    """A signed token (RFC 7519)."""
    parts = [json.dumps(part, separators=(",", ":")).encode() for part in ({"alg": algorithm, "typ": "JWT"}, claims(number))]
    message = ".".join(map(_encoded, parts))
    if algorithm == "HS256":
        return f"{message}.{_encoded(hmac.digest(SECRET.encode(), message.encode(), 'sha256'))}"
    key, signed = str(folder / f"{algorithm}.pem"), folder / "message"
    signed.write_text(message)
    if algorithm == "EdDSA":
        made = _openssl("pkeyutl", "-sign", "-inkey", key, "-rawin", "-in", str(signed))
    else:
        made = _openssl("dgst", "-sha256", "-sign", key, str(signed))
    return f"{message}.{_encoded(_two_numbers(made) if algorithm == 'ES256' else made)}"


def _two_numbers(der: bytes) -> bytes:
    """An ECDSA signature as RFC 7518 section 3.4 has it: two numbers of 32 bytes, which openssl wraps in DER."""
    at, numbers = 2, b""
    for _ in range(2):
        length = der[at + 1]
        numbers += der[at + 2 : at + 2 + length].lstrip(b"\0").rjust(32, b"\0")
        at += 2 + length
    return numbers


class Services:
    """Who is asked behind the proxy's back, seldom: on this process's own thread."""

    def __init__(self) -> None:
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Asked)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> "Services":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Asked(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/login/oauth/authorize":
            asked = dict(urllib.parse.parse_qsl(query))
            back = urllib.parse.urlencode({"code": "once", "state": asked["state"]})
            self._answer({}, 302, f"{asked['redirect_uri']}?{back}")
        elif path == "/user/emails":
            self._answer([{"email": "ada@example.com", "primary": True, "verified": True}])
        else:
            self._answer({"login": "ada", "id": 1, "email": None})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == "/introspect":
            self._answer(claims() | {"active": True})
        else:
            self._answer({"access_token": "gho_token", "token_type": "bearer", "scope": "read:user,user:email"})

    def _answer(self, body: object, status: int = 200, location: str | None = None) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(text)


class Client:
    """Somebody who talks to the proxy as browsers and scripts do."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies: dict[str, str] = {}

    def ask(self, method: str, target: str, body: object = None) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Host": HOST, "Accept": "text/html,*/*;q=0.8"}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, target, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        for cookie in answer.headers.get_all("set-cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer.status, answer.headers, said

    def log_in(self, page: str, services: Services) -> str:
        """Goes to a page, and wherever that leads; the cookie of the session."""
        target = page
        for _ in range(3):
            status, headers, said = self.ask("GET", target)
            location = headers.get("location", "")
            if status != 302 or not location:
                raise SystemExit(f"bench: no login: {status} {said[:300]!r}")
            if location.startswith(services.url):
                provider = http.client.HTTPConnection(services.url.removeprefix("http://"), timeout=30)
                provider.request("GET", location.removeprefix(services.url))
                location = provider.getresponse().headers["location"]
            target = location.removeprefix(f"http://{HOST}")
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

