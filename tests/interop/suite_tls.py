"""TLS: testssl.sh, openssl's client, curl with client certificates, PROXY headers."""

import json
import re
import subprocess

from checks import check, same, true
from ground import Front, Ground
from world import tool

# Findings that stand, and why.
EXPECTED: dict[str, str] = {
    "cert_chain_of_trust": "the authority is the test's own",
    "cert_trust": "the test's certificate holds an address, which the tool does not compare",
    "cert_crlDistributionPoints": "the test's certificate names none",
    "cert_ocspURL": "the test's authority has no OCSP",
    "OCSP_stapling": "not offered by proxyd; the test's authority has none to staple",
    "cert_revocation": "the test's certificate names neither CRL nor OCSP",
    "DNS_CAArecord": "127.0.0.1 is no name",
    "cipher_order": "the client's order counts: all suites are AEAD with forward secrecy, it knows its hardware",
    "security_headers": "as HSTS",
    "HSTS": "no header is set by this config (`security_headers: on` sets it)",
}


def front(ground: Ground) -> Front:
    """Two certificates on one listener."""

    def tree() -> dict:
        return {"routes": [{"path": "/", "target": f"http://127.0.0.1:{ground.origin.port}"}]}

    return ground.front(
        "tls-front", tree, tls={"certificates": [ground.certificate("server"), ground.certificate("other")]}
    )


def client(ground: Ground, port: int, *words: str, said: str = "") -> str:
    """What `openssl s_client` tells."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", ground.pem("ca"), *words]
    done = subprocess.run(command, input=said.encode(), capture_output=True, timeout=30, check=False)
    return (done.stdout + done.stderr).decode(errors="replace")


@check("tls: testssl.sh finds nothing above LOW that is not accounted for", 400)
def testssl(ground: Ground) -> None:
    proxyd = front(ground)
    out = ground.folder / "testssl.json"
    command = [
        tool("testssl"),
        "--fast",
        "--quiet",
        "--color",
        "0",
        "--nodns",
        "min",
        "--ip",
        "one",
        "--warnings",
        "off",
    ]
    command += ["--openssl", "/usr/bin/openssl", "--jsonfile", str(out), f"https://127.0.0.1:{proxyd.tls}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=380, check=False, stdin=subprocess.DEVNULL)
    (ground.folder / "testssl.log").write_text(done.stdout + done.stderr)
    found = json.loads(out.read_text())
    counts = {}
    for entry in found:
        counts[entry["severity"]] = counts.get(entry["severity"], 0) + 1
    print(f"   {len(found)} entries: {counts}")
    grave = [entry for entry in found if entry["severity"] in ("LOW", "MEDIUM", "HIGH", "CRITICAL")]
    for entry in grave:
        reason = next((why for name, why in EXPECTED.items() if entry["id"].startswith(name)), None)
        print(f"   {entry['severity']} {entry['id']}: {entry['finding'][:100]} ({reason or 'not accounted for'})")
    true(len(found) > 60, f"it saw little: {done.stdout[-300:]}")
    unknown = [
        entry["id"]
        for entry in grave
        if entry["severity"] != "LOW" and not any(entry["id"].startswith(name) for name in EXPECTED)
    ]
    same(unknown, [])


@check("tls: the certificate follows the name that is asked for")
def names(ground: Ground) -> None:
    port = front(ground).tls
    for name, common in (
        ("localhost", "localhost"),
        ("other.example", "other.example"),
        ("a.wild.example", "other.example"),
        ("absent.example", "localhost"),
    ):
        told = client(ground, port, "-servername", name)
        same(re.search(r"subject=CN = (\S+)", told).group(1), common, name)
        true("Verification: OK" in told, f"the chain of {name} is not taken")
    same(
        re.search(r"subject=CN = (\S+)", client(ground, port, "-noservername")).group(1), "localhost", "without a name"
    )


@check("tls: TLS 1.2 and 1.3 are spoken, older ones are not; ALPN")
def versions(ground: Ground) -> None:
    port = front(ground).tls
    for version in ("tls1_2", "tls1_3"):
        for offered, agreed in (("h2,http/1.1", "h2"), ("http/1.1", "http/1.1"), ("http/1.1,h2", "h2")):
            told = client(ground, port, f"-{version}", "-alpn", offered)
            true(f"ALPN protocol: {agreed}" in told, f"{version} with {offered}: {told[-300:]}")
        true("No ALPN negotiated" in client(ground, port, f"-{version}"), "an ALPN nobody offered")
    for version in ("tls1", "tls1_1"):
        told = client(ground, port, f"-{version}", "-cipher", "ALL:@SECLEVEL=0")
        true("Cipher is (NONE)" in told or "no protocols available" in told, f"{version} is spoken")
    true("alert no application protocol" in client(ground, port, "-alpn", "spdy/3"), "an unknown ALPN is taken")
    strict = ground.front(
        "tls-strict", lambda: {"routes": [{"path": "/", "respond": {"body": "x"}}]}, tls={"min_version": "1.3"}
    )
    true("Cipher is (NONE)" in client(ground, strict.tls, "-tls1_2"), "TLS 1.2 in spite of min_version")
    true("TLSv1.3" in client(ground, strict.tls, "-tls1_3"), "no TLS 1.3")


@check("tls: sessions are resumed, in both versions")
def resumption(ground: Ground) -> None:
    port = front(ground).tls
    request = "GET /bytes/5 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    for version in ("tls1_2", "tls1_3"):
        kept = str(ground.folder / f"session-{version}")
        words = [f"-{version}", "-servername", "localhost", "-ign_eof"]
        true("New, " in client(ground, port, *words, "-sess_out", kept, said=request), "not a new session")
        told = client(ground, port, *words, "-sess_in", kept, said=request)
        true("Reused, " in told, f"{version} was not resumed: {told[-400:]}")
        true("200 OK" in told or " 200 " in told, "no answer")


@check("tls: client certificates, required and optional, with curl; routes by certificate")
def certificates(ground: Ground) -> None:
    ca = {"client_ca": ground.pem("ca")}

    def tree() -> dict:
        target = f"http://127.0.0.1:{ground.origin.port}"
        routes = [
            {"path": "/echo/billing", "target": target, "access": {"certificates": "billing.example"}},
            {"path": "/", "target": target},
        ]
        return {"routes": routes}

    own = ["--cert", ground.pem("client"), "--key", ground.pem("client.key")]
    # Signed by nobody that is trusted.
    stranger = [
        "-keyout",
        ground.pem("stranger.key"),
        "-out",
        ground.pem("stranger"),
        "-subj",
        "/CN=billing",
        "-days",
        "2",
    ]
    ground.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *stranger)
    false = ["--cert", ground.pem("stranger"), "--key", ground.pem("stranger.key")]

    def ask(proxyd: Front, path: str, *words: str) -> str:
        command = [
            "curl",
            "-sS",
            "--max-time",
            "20",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--cacert",
            ground.pem("ca"),
            *words,
        ]
        done = subprocess.run(
            [*command, proxyd.url(True) + path], capture_output=True, text=True, timeout=30, check=False
        )
        return done.stdout if done.returncode == 0 else f"curl {done.returncode}"

    required = ground.front("tls-required", tree, tls=ca)
    optional = ground.front("tls-optional", tree, tls={**ca, "client_auth": "optional"})
    for version in ("--http1.1", "--http2"):
        for limit in ("1.2", "1.3"):
            words = [version, "--tls-max", limit]
            same(ask(required, "/echo/billing", *words, *own), "200")
            true(ask(required, "/echo/", *words).startswith("curl "), "let in without a certificate")
            true(ask(required, "/echo/", *words, *false).startswith("curl "), "let in with a false one")
            same(ask(optional, "/echo/", *words), "200")
            same(ask(optional, "/echo/billing", *words), "403")
            same(ask(optional, "/echo/billing", *words, *own), "200")
            true(ask(optional, "/echo/", *words, *false).startswith("curl "), "let in with a false one")


@check("proxy protocol: curl --haproxy-protocol, over clear text, TLS and HTTP/2")
def proxy_protocol(ground: Ground) -> None:
    wants = {"proxy_protocol": "v1"}

    def tree() -> dict:
        server = {"trusted_proxies": ["127.0.0.0/8"]}
        return {"server": server, "routes": [{"path": "/", "target": f"http://127.0.0.1:{ground.origin.port}"}]}

    # The certificate stands in the listener's long form, beside proxy_protocol.
    proxyd = ground.front("proxy-protocol", tree, clear=wants, listens=wants)
    for secure in (False, True):
        for version in ("--http1.1", "--http2" if secure else "--http2-prior-knowledge"):
            for more, client_ip in (([], "127.0.0.1"), (["--haproxy-clientip", "192.0.2.7"], "192.0.2.7")):
                command = [
                    "curl",
                    "-sS",
                    "--max-time",
                    "20",
                    "--cacert",
                    ground.pem("ca"),
                    version,
                    "--haproxy-protocol",
                ]
                help_text = subprocess.run(["curl", "--help", "all"], capture_output=True, text=True, check=True).stdout
                if more and "--haproxy-clientip" not in help_text:
                    continue
                done = subprocess.run(
                    [*command, *more, proxyd.url(secure) + "/echo/"],
                    capture_output=True,
                    text=True,
                    timeout=30,
                    check=False,
                )
                same(done.returncode, 0, done.stderr)
                headers = {name.lower(): value for name, value in json.loads(done.stdout)["headers"]}
                same(headers["x-forwarded-for"], client_ip, version)
    plain = ["curl", "-sS", "--max-time", "5", "-o", "/dev/null", "-w", "%{http_code}", proxyd.url() + "/echo/"]
    done = subprocess.run(plain, capture_output=True, text=True, timeout=30, check=False)
    true(done.returncode != 0, f"answered {done.stdout} without the header")
