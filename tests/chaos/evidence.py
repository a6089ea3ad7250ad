"""What three sides saw of the same requests: the client, the endpoints' journal, and the daemon's record."""

import bisect
import collections
import dataclasses
import json
import pathlib
import re
import sqlite3

from load import Asked
from turmoil import Turmoil

UNTOUCHED = ("connect", "connect_timeout", "refused_stream")


@dataclasses.dataclass
class Row:
    """A row of the record."""

    began: float
    ended: float
    status: int
    outcome: str
    attempts: int
    generation: int
    tries: str
    # Where attempts went wrong, and how.
    tried: list[tuple[str, str]]
    # Why there was no other attempt.
    denied: str


def row_of(found: tuple) -> Row:
    time_us, status, outcome, attempts, generation, tries, duration_ms = found
    words = re.split("[;,] ", tries or "")
    tried = [tuple(word.split(" ", 1)) for word in words if re.match(r"[\d.]+:\d+ ", word)]
    denied = next((word.removeprefix("not retried: ") for word in words if word.startswith("not retried: ")), "")
    began = time_us / 1e6
    return Row(began, began + duration_ms / 1e3, status, outcome, attempts, generation, tries or "", tried, denied)


class Evidence:
    """All of it, by request."""

    def __init__(self, folder: pathlib.Path, asked: list[Asked], turmoil: Turmoil) -> None:
        self.asked = {one.id: one for one in asked}
        self.turmoil = turmoil
        self.began = min(one.began for one in asked)
        self.ports = turmoil.endpoints.ports
        self.rows: dict[str, list[Row]] = collections.defaultdict(list)
        for path in sorted((folder / "state" / "audit").glob("segment-*.sqlite")):
            segment = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            columns = "time_us, status, outcome, attempts, generation, tries, duration_ms"
            for id, *found in segment.execute(f"SELECT request_id, {columns} FROM readable"):
                self.rows[id].append(row_of(tuple(found)))
            segment.close()
        self.events: dict[str, list[dict]] = collections.defaultdict(list)
        # When each endpoint read the head of which request.
        self.heads: list[list[tuple[float, str]]] = [[] for _ in self.ports]
        # Since when each endpoint does how.
        self.modes: list[list[tuple[float, str]]] = [[(0.0, "well")] for _ in self.ports]
        for line in (folder / "journal.jsonl").read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            if event["what"] == "mode":
                self.modes[event["endpoint"]].append((event["at"], event["mode"]))
                continue
            self.events[event["id"]].append(event)
            if event["what"] == "head":
                self.heads[event["endpoint"]].append((event["at"], event["id"]))

    def row(self, id: str) -> Row | None:
        return next(iter(self.rows.get(id, [])), None)

    def did(self, endpoint: int, since: float, until: float) -> set[str]:
        """In which modes an endpoint was at any time between."""
        modes = self.modes[endpoint]
        first = bisect.bisect_right(modes, (since, "~")) - 1
        last = bisect.bisect_left(modes, (until, ""))
        return {mode for _, mode in modes[max(first, 0) : max(last, first + 1)]}

    def ready(self, since: float, until: float) -> set[int]:
        """Which endpoints the daemon held for ready for all this time and a little more, with room for requests."""
        samples = self.turmoil.samples
        first = max(0, bisect.bisect_left(samples, since, key=lambda sample: sample[1]) - 1)
        last = min(len(samples), bisect.bisect_right(samples, until, key=lambda sample: sample[0]) + 1)
        lines = [line for _, _, line in samples[first:last]]
        if len(lines) < 2 or samples[first][1] > since or samples[last - 1][0] < until:
            return set()
        is_ready = lambda one: one["state"] in ("ready", "slow_start") and one["in_flight"] < 90
        return {n for n in range(len(self.ports)) if all(is_ready(line["endpoints"][n]) for line in lines)}

    def facts(self, asked: Asked) -> str:
        """All of a request in one line."""
        row = self.row(asked.id)
        tale = [(round(event["at"] - asked.began, 3), event["endpoint"], event["what"], event.get("did", "")) for event in self.events[asked.id]]
        near = self.ready(asked.ended - 0.05, asked.ended) if asked.ended else set()
        states = next((s for s in reversed(self.turmoil.samples) if s[0] <= asked.ended), None)
        seen = [one["state"] for one in states[2]["endpoints"]] if states else []
        modes = [sorted(self.did(n, asked.began, asked.ended)) for n in range(len(self.ports))]
        return f"{asked} {row} endpoints saw {tale}, did {modes}, ready {sorted(near)}, states {seen}, ports {self.ports}"
