"""What proxyd must reach, and whether a run shows that it does."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the bar: less is better, unless it says otherwise."""

    figure: str
    value: float | None
    must: float
    aim: float
    unit: str = ""
    more_is_better: bool = False
    remark: str = ""

    def _written(self, value: float) -> str:
        digits = (
            f"{value:,.0f}"
            if value >= 1000
            else f"{value:.2f}".rstrip("0").rstrip(".")
            if value >= 10
            else f"{value:.2f}"
        )
        return f"{digits} {self.unit}".strip()

    @property
    def shown(self) -> str:
        return "not measured" if self.value is None else self._written(self.value)

    @property
    def must_shown(self) -> str:
        return self._written(self.must)

    @property
    def aim_shown(self) -> str:
        return self._written(self.aim)

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "–"

        def reaches(bound: float) -> bool:
            return self.value >= bound if self.more_is_better else self.value <= bound

        return "pass, aim reached" if reaches(self.aim) else "pass" if reaches(self.must) else "MISS"


def _figure(results: dict, case: str, label: str, figure: str = "us") -> float | None:
    entrant = results["cases"].get(case, {}).get("entrants", {}).get(label)
    return entrant[figure] if entrant else None


def _remark(results: dict, case: str, *labels: str) -> str:
    entrants = results["cases"].get(case, {}).get("entrants", {})
    return "" if all(entrants[label]["settled"] for label in labels if label in entrants) else "few clean samples"


def _ratio(results: dict, case: str, *peers: str) -> tuple[float | None, str]:
    """Ours over the best of these, and who that was."""
    ours = _figure(results, case, "proxyd")
    theirs = {peer: value for peer in peers if (value := _figure(results, case, peer))}
    if ours is None or not theirs:
        return None, ""
    best = min(theirs, key=theirs.__getitem__)
    remark = _remark(results, case, "proxyd", *theirs)
    return ours / theirs[best], f"best: {best}" + (f"; {remark}" if remark else "")


def rows(results: dict) -> list[Row]:
    """Every line of the bar, measured or not."""
    extras = results["extras"]
    everything, best_gateway = _ratio(results, "gateway", "nginx", "haproxy")
    plain, best_plain = _ratio(results, "plain", "nginx", "haproxy")
    large, best_large = _ratio(results, "body-64k", "nginx")
    counted = extras.get("counts", {}).get("gateway", {}).get("proxyd", {})
    memory = extras.get("memory", {}).get("entrants", {}).get("proxyd", {})
    late = extras.get("latency", {}).get("entrants", {})
    others = {label: found["p99_us"] for label, found in late.items() if label != "proxyd"}
    p99, best_late = None, ""
    if "proxyd" in late and others:
        best = min(others, key=others.__getitem__)
        p99, best_late = late["proxyd"]["p99_us"] / others[best], f"best: {best}"
        best_late += "" if all(found["settled"] for found in late.values()) else "; few clean samples"
    few, many = (_figure(results, "routes", f"proxyd {count}") for count in ("10", "100,000"))
    routes = extras.get("counts", {}).get("routes", {})
    looked = [routes.get(f"proxyd {count}", {}).get("instructions") for count in ("10", "100,000")]
    instructions = f"user instructions: {looked[1] / looked[0]:.2f}" if all(looked) else ""
    audit = extras.get("audit", {})
    rows_written = f"{audit['rows']:,} rows" if audit else ""
    return [
        Row(
            "everything on ÷ the best of nginx (buffered) and haproxy as gateways",
            everything,
            0.85,
            0.70,
            remark=best_gateway,
        ),
        Row("plain ÷ the best of nginx and haproxy", plain, 0.95, 0.85, remark=best_plain),
        Row("64 KiB answers ÷ nginx", large, 0.80, 0.70, remark=best_large),
        Row("HTTP/2 over TLS ÷ haproxy", extras.get("http2", {}).get("entrants", {}).get("proxyd", {}).get("ratio"), 1.00, 0.85),
        Row("system calls a request, everything on", counted.get("system calls"), 4.5, 4.1),
        Row("user instructions a request, everything on", counted.get("instructions"), 27_000, 15_000),
        Row(
            "memory for an idle client",
            memory["each"] / 1024 if memory else None,
            8,
            2,
            "KiB",
            remark=f"{extras['memory']['clients']:,} clients" if memory else "",
        ),
        Row("p99 at 70 % of the slowest's saturation ÷ the best peer's", p99, 1.0, 0.8, remark=best_late),
        Row(
            "100,000 routes ÷ ten, a whole request", many / few if few and many else None, 1.5, 1.1, remark=instructions
        ),
        Row("reload of 100,000 routes", extras.get("reload-routes", {}).get("median_s"), 1, 0.3, "s"),
        Row(
            "throughput of two workers ÷ one",
            extras.get("scaling", {}).get("entrants", {}).get("proxyd", {}).get("ratio"),
            1.8,
            2.0,
            more_is_better=True,
            remark="on a core each, with upstream and load",
        ),
        Row("audit rows a second", audit.get("rate"), 300_000, 1_000_000, more_is_better=True, remark=rows_written),
        Row("newest 50 of them", audit.get("newest_ms"), 50, 5, "ms", remark=rows_written),
    ]
