"""Where the instructions of a request go.

Usage: profile.py PROXYD [CASE]

Serves requests under callgrind and prints, for each part of the work, the user instructions of one request with all that it calls; then the
functions that take most by themselves. What starts and stops proxyd is shared among the requests. Needs valgrind.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

from run import BOUNDS, CONNECTIONS, serve

ROUNDS = 1000

# Parts, and the function that stands for each. Parts lie within each other as they are indented.
PARTS = (
    ("worker: a connection's task", "proxyd::server::connection::Connection::serve::{{closure}}"),
    ("  heads parsed, both", "http1::parse::HeadParser::parse"),
    ("  header lines written", "http1::headers::Headers::append"),
    ("  routing, filters, forwarding", "proxyd::proxy::travel::{{closure}}"),
    ("  the answer written, its end", "proxyd::server::respond::respond::{{closure}}"),
    ("    log, metrics and row handed over", "core::ptr::drop_in_place<proxyd::exchange::finish::Finish>"),
    ("      the row into its chunk", "shared::audit::chunk::Chunk::push"),
    ("  read from a socket", "http1::wire::Wire<S>::poll_fill"),
    ("audit writer: a row into the store", "records::store::Store::write"),
    ("  SHA-256", "SHA256"),
    ("  SQLite's step", "sqlite3_step"),
    ("  values bound", "records::insert::Values::"),
    ("allocator: taken", "malloc"),
    ("allocator: given back", "free"),
    ("memcpy", "memcpy_avx_unaligned_erms"),
)


def annotated(out: pathlib.Path, *options: str) -> list[tuple[int, str]]:
    """Instructions and functions, as callgrind_annotate lists them."""
    command = ["callgrind_annotate", "--auto=no", "--threshold=100", *options, str(out)]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = re.findall(r"^\s*([\d,]+) \([^)]*\)\s+\S*?:([^\s:].*?)(?: \[[^\]]*\])?$", listed, re.MULTILINE)
    return [(int(count.replace(",", "")), name) for count, name in rows]


def main() -> None:
    """Profiles and prints."""
    proxyd, case = sys.argv[1], (sys.argv[2:] or ["everything"])[0]
    requests = ROUNDS * CONNECTIONS
    with tempfile.TemporaryDirectory(prefix="proxyd-profile-") as name:
        folder = pathlib.Path(name)
        out = folder / "callgrind.out"
        tool = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}", proxyd]
        serve(tool, BOUNDS[case][0], ROUNDS, folder)
        inclusive, alone = annotated(out, "--inclusive=yes"), annotated(out)
    print(f"{case}: user instructions of a request, {requests:,} requests, {sum(row[0] for row in alone) / requests:,.0f} in all\n")
    for label, function in PARTS:
        found = [count for count, name in inclusive if function in name]
        if "Values::" in function:
            found = [sum(count for count, name in alone if function in name)]
        if found:
            print(f"{max(found) / requests:8,.0f}  {label}")
    print("\nby themselves:\n")
    of: dict[str, int] = {}
    for count, name in alone:
        of[name] = of.get(name, 0) + count
    for name, count in sorted(of.items(), key=lambda row: -row[1])[:20]:
        print(f"{count / requests:8,.0f}  {name[:100]}")


if __name__ == "__main__":
    main()
