"""Samples of the daemon's size and counts, to a CSV; and the judgement of whether they are flat."""

import csv
import os
import pathlib
import statistics
import time
import urllib.request

METRICS = (
    "proxyd_connections",
    "proxyd_requests_in_flight",
    "proxyd_tunnels",
    "proxyd_audit_queued_rows",
    "proxyd_audit_rows_total",
    "proxyd_audit_shed_rows_total",
    "proxyd_access_log_dropped_lines_total",
    "proxyd_rate_limit_keys",
    "process_cpu_seconds_total",
)


class Watch:
    """Samples one process."""

    def __init__(self, pid: int, admin: int, path: pathlib.Path) -> None:
        self.pid = pid
        self.admin = admin
        self.rows: list[dict[str, float]] = []
        self.started = time.monotonic()
        self.file = open(path, "w", encoding="utf-8", newline="")
        self.csv = csv.DictWriter(self.file, ["seconds", "rss_kib", "fds", "threads", *METRICS])
        self.csv.writeheader()

    def metrics(self) -> dict[str, float]:
        """The daemon's own figures, summed over their labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=20) as page:
            lines = page.read().decode().splitlines()
        found = dict.fromkeys(METRICS, 0.0)
        for line in lines:
            name, _, value = line.rpartition(" ")
            name = name.split("{")[0]
            if name in found:
                found[name] += float(value)
        return found

    def sample(self) -> dict[str, float]:
        """Takes a sample and writes it down."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        of = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if len(line.split()) > 1}
        row = {
            "seconds": round(time.monotonic() - self.started, 1),
            "rss_kib": int(of["VmRSS"]),
            "fds": len(os.listdir(f"/proc/{self.pid}/fd")),
            "threads": int(of["Threads"]),
            **self.metrics(),
        }
        self.csv.writerow(row)
        self.file.flush()
        self.rows.append(row)
        return row


def growth(rows: list[dict[str, float]], column: str) -> float:
    """By how much the least-squares line through a column rises from the first to the last of the rows."""
    times = [row["seconds"] for row in rows]
    return statistics.linear_regression(times, [row[column] for row in rows]).slope * (times[-1] - times[0])


def flat(rows: list[dict[str, float]], column: str, rises: float, bursts: float) -> tuple[bool, str]:
    """Whether a column is flat once the first quarter is over: its line rises by a tenth of the median or `rises` at
    most, and no value is above the median by more than a quarter of it and `bursts`."""
    later = [row for row in rows if row["seconds"] >= rows[-1]["seconds"] / 4]
    if len(later) < 4:
        return False, f"only {len(later)} samples"
    values = [row[column] for row in later]
    median, most = statistics.median(values), max(values)
    rise, may_rise = growth(later, column), max(rises, median / 10)
    highest = median * 1.25 + bursts
    told = f"rises by {rise:.0f} (at most {may_rise:.0f}), median {median:.0f}, most {most:.0f} (at most {highest:.0f})"
    return rise <= may_rise and most <= highest, told
