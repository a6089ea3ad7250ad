"""What a run found, for people: tables in Markdown, the bar, the plot, and the block in docs/performance.md."""

import balancing
import bar
import faults
import identity
import plot
import probing
from cases import ROOT, WORK, Case
from rounds import Outcome

DOCS = ROOT / "docs/performance.md"
BEGIN, END = "<!-- results: written by bench/run --write-docs -->", "<!-- end of results -->"


def case_results(case: Case, outcomes: dict[str, Outcome]) -> dict:
    """A case as it is kept: medians of the samples in use, and every sample."""
    entrants = {}
    for label, outcome in outcomes.items():
        low, high = outcome.spread("us")
        entrants[label] = {
            **{
                figure: round(outcome.median(figure), 2)
                for figure in ("us", "user_us", "system_us", "rate", "p50_us", "p99_us", "p999_us")
            },
            "us_least": round(low, 2),
            "us_most": round(high, 2),
            "used": len(outcome.used()),
            "taken": len(outcome.samples),
            "settled": outcome.settled(),
            "complaints": outcome.complaints,
            "samples": [vars(sample) for sample in outcome.samples],
        }
    return {"title": case.title, "note": case.note, "entrants": entrants}


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "|".join("---" for _ in heads) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _case_text(name: str, case: dict) -> str:
    entrants = case["entrants"]
    ours = next((found["us"] for label, found in entrants.items() if label.startswith("proxyd")), None)
    rows = []
    for label, found in entrants.items():
        marks = "" if found["settled"] else " ¹"
        rows.append(
            [
                label,
                f"{found['us']:.1f}{marks}",
                f"{found['us_least']:.1f}–{found['us_most']:.1f}",
                f"{found['user_us']:.1f}",
                f"{found['system_us']:.1f}",
                f"{found['us'] / ours:.2f}" if ours else "",
                f"{found['rate']:,.0f}",
                f"{found['p50_us'] / 1000:.2f}",
                f"{found['p99_us'] / 1000:.2f}",
                f"{found['used']} of {found['taken']}",
            ]
        )
    heads = ["", "CPU µs/request", "range", "user", "system", "× proxyd", "requests/s", "p50 ms", "p99 ms", "samples"]
    note = f"\n\n{case['note']}" if case["note"] else ""
    return f"**{name}**: {case['title']}\n\n{_table(heads, rows)}{note}"


def _complaints(results: dict) -> list[str]:
    found = []
    for name, case in results["cases"].items():
        for label, entrant in case["entrants"].items():
            found += [f"{name}, {label}: {complaint}" for complaint in entrant["complaints"]]
    for name, extra in results["extras"].items():
        found += [f"{name}: {complaint}" for complaint in extra.get("complaints", []) + extra.get("refused", [])]
        for label, entrant in extra.get("entrants", {}).items():
            found += [f"{name}, {label}: {complaint}" for complaint in entrant.get("complaints", [])]
    return found


def _extras_text(extras: dict) -> list[str]:
    parts = []
    if latency := extras.get("latency"):
        rows = [
            [
                label,
                f"{found['p50_us']:,.0f}",
                f"{found['p99_us']:,.0f}",
                f"{found['p999_us']:,.0f}",
                f"{found['us']:.1f}" + ("" if found["settled"] else " ¹"),
            ]
            for label, found in latency["entrants"].items()
        ]
        title = f"**latency**: gateway, {latency['rate']:,} requests/s for all (70 % of what {latency['slowest']} can do), times from when a request was due"
        parts.append(f"{title}\n\n" + _table(["", "p50 µs", "p99 µs", "p99.9 µs", "CPU µs/request"], rows))
    if memory := extras.get("memory"):
        clients = memory["clients"]
        rows = [
            [
                label,
                *(f"{found[figure] / 2**20:.1f}" for figure in ("idle", "clients")),
                f"{found['each'] / 1024:.1f}",
                f"{found['loaded'] / 2**20:.1f}",
            ]
            for label, found in memory["entrants"].items()
        ]
        heads = ["", "idle MiB", f"{clients:,} idle clients MiB", "KiB each", "most under load MiB"]
        parts.append("**memory**: resident, all processes, as a gateway\n\n" + _table(heads, rows))
    if http2 := extras.get("http2"):
        rows = [
            [label, f"{found['us']:.1f}" + ("" if found["settled"] else " ¹"), f"{found['ratio']:.2f}", f"{found['rate']:,.0f}"]
            for label, found in http2["entrants"].items()
        ]
        title = "**http2**: HTTP/2 over TLS (ECDSA P-256), 1 KiB answers, 8 connections of 8 streams, HTTP/1.1 upstream"
        parts.append(f"{title}\n\n" + _table(["", "CPU µs/request", "÷ haproxy", "requests/s"], rows))
    if failing := extras.get("faults"):
        parts.append(faults.markdown(failing))
    if probes := extras.get("probes"):
        parts.append(probing.markdown(probes))
    if balance := extras.get("balance"):
        parts.append(balancing.markdown(balance))
    if told := extras.get("identity"):
        parts.append(identity.markdown(told))
    if held := extras.get("idle"):
        rows = [
            [label, *(f"{found[kind] / 1024:.1f}" for kind in ("keep-alive", "TLS", "WebSocket"))]
            for label, found in held["entrants"].items()
        ]
        heads = ["KiB each", *(f"{count:,} {kind}" for kind, count in held["counts"].items())]
        parts.append("**idle**: resident memory of an idle connection, all processes\n\n" + _table(heads, rows))
    if scaling := extras.get("scaling"):
        rows = [
            [label, *(f"{found[figure]:,}" for figure in ("one", "two")), f"{found['ratio']:.2f}"]
            + [f"{found['apart']:,}", f"{found['to_apart']:.2f}"]
            for label, found in scaling["entrants"].items()
        ]
        title = "**scaling**: requests a second with a worker, an upstream and a load on one core, and two of each on two cores, as a gateway; apart: two proxies of one worker, which share nothing"
        parts.append(f"{title}\n\n" + _table(["", "one", "two", "ratio", "two apart", "two ÷ apart"], rows))
    if counts := extras.get("counts"):
        rows = []
        for case, entrants in counts.items():
            for label, found in entrants.items():
                cells = [
                    f"{found[figure]:,.{places}f}" if figure in found else found.get(f"no {figure}", "–")
                    for figure, places in (("instructions", 0), ("system calls", 2))
                ]
                rows.append([case, label, *cells])
        parts.append(
            "**counts**: of one request, 16 connections\n\n"
            + _table(["", "", "user instructions", "system calls"], rows)
        )
    if reload := extras.get("reload"):
        parts.append(
            f"**reload**: {reload['reloads']} reloads in {reload['seconds']} s under load, one every 100 ms: {reload['answered']:,} requests answered "
            f"({reload['rate']:,}/s, p99 {reload['p99_us'] / 1000:.2f} ms), {len(reload['complaints'])} complaints; a reload took {reload['median_ms']} ms "
            f"(median), {reload['slowest_ms']} ms at most."
        )
    if routes := extras.get("reload-routes"):
        parts.append(
            f"**reload-routes**: a reload of {routes['routes']:,} routes took {routes['median_s']} s (median)."
        )
    if (audit := extras.get("audit")) and audit.get("said"):
        parts.append(
            f"**audit**: `records/examples/fill.rs`, {audit['rows']:,} rows, one core\n\n```text\n{audit['said'].strip()}\n```"
        )
    return parts


def markdown(results: dict) -> str:
    """The whole report."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    took = f", {results['took_s'] // 60} min {results['took_s'] % 60} s" if "took_s" in results else ""
    opening = [
        f"`{results['command']}`, begun {results['begun']}{took}: {results['rounds']} rounds, samples of {results['seconds']:g} s.",
        f"Machine: {results['machine']}.",
        f"Versions: {versions}.",
    ]
    wrong = _complaints(results)
    said = (
        "Equal work: every check held."
        if not wrong
        else "Equal work did not hold everywhere:\n\n" + "\n".join(f"- {line}" for line in wrong)
    )
    rows = [
        [row.figure, row.shown, row.must_shown, row.aim_shown, row.verdict, row.remark] for row in bar.rows(results)
    ]
    parts = [
        "\n".join(opening),
        said,
        "### The bar\n\n" + _table(["figure", "measured", "must", "aim", "", "remark"], rows),
    ]
    cases = [_case_text(name, case) for name, case in results["cases"].items()]
    if cases:
        parts.append("### The cases\n\n" + "\n\n".join(cases))
        if any(not entrant["settled"] for case in results["cases"].values() for entrant in case["entrants"].values()):
            parts.append("¹ Fewer than half of the rounds were clean: as many of the cleanest are shown.")
    if extras := _extras_text(results["extras"]):
        parts.append("### Beside the load\n\n" + "\n\n".join(extras))
    return "\n\n".join(parts) + "\n"


def write(results: dict, into_docs: bool) -> None:
    """Prints the report and keeps it beside the plot; on demand also in docs/performance.md."""
    text = markdown(results)
    (WORK / "results.md").write_text(text)
    picture = plot.draw(results["cases"])
    (WORK / "results.svg").write_text(picture)
    print("\n" + text)
    print(f"kept in {WORK.relative_to(ROOT)}: results.json, results.md, results.svg")
    if into_docs:
        page = DOCS.read_text()
        before, _, rest = page.partition(BEGIN)
        after = rest.partition(END)[2]
        if not rest:
            raise SystemExit(f"bench: {DOCS.name} has no place for results: {BEGIN}")
        DOCS.write_text(f"{before}{BEGIN}\n\n![CPU time of a request](performance.svg)\n\n{text}\n{END}{after}")
        (DOCS.parent / "performance.svg").write_text(picture)
        print(f"written into docs/{DOCS.name}")
