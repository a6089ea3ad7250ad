"""The verdicts: whether each failure is explained, and whether the daemon kept its promises."""

import collections

from evidence import UNTOUCHED, Evidence, Row
from load import Asked
from turmoil import ATTEMPTS, BUDGET, CONNECT_S, FLOOR_PER_S, MAX_EJECTED, TOTAL_S, TRIALS, WORKERS

WINDOW_S = 10
# An endpoint that is well is held for well after this: the longest ejection, then the breaker.
WELL_AGAIN_S = 7
# How late a busy machine may be.
LATE_S = 0.5
CUT = ("upstream_reset", "upstream_truncated", "upstream_idle_timeout", "total_timeout", "write_timeout")


class Judge:
    """See the module. Each law gives the cases that break it."""

    def __init__(self, evidence: Evidence, tell) -> None:
        self.evidence = evidence
        self.tell = tell
        self.reasons: collections.Counter = collections.Counter()

    def law(self, name: str, broken: list, told: object) -> None:
        self.tell(not broken, name, told if not broken else f"{len(broken)} broken, such as:\n    " + "\n    ".join(map(str, broken[:4])))

    def judge(self) -> None:
        every = list(self.evidence.asked.values())
        failed = [asked for asked in every if asked.failed]
        unexplained = []
        for asked in failed:
            if problem := self.problem(asked):
                unexplained.append(f"{problem}: {self.evidence.facts(asked)}")
        saved = sum(1 for rows in self.evidence.rows.values() for row in rows if row.tried and 0 < row.status < 500)
        told = f"{len(failed)} of {len(every)} failed, {saved} more were saved; {dict(self.reasons.most_common())}"
        self.law("every failure that a client saw is explained by its row", unexplained, told)
        self.honest(failed)
        self.recorded(every)
        self.sent(every)
        self.elsewhere()
        self.drained()
        self.breakers()
        self.ejected()
        self.budget(every)
        self.sticky()

    # --- failures

    def problem(self, asked: Asked) -> str:
        """What is wrong with a failure; empty where it had to be."""
        row = self.evidence.row(asked.id)
        if row is None:
            return "no row"
        if asked.broken:
            self.reasons["broke off"] += 1
            return self.broken(asked, row)
        if row.status != asked.status:
            return "another status is recorded"
        if asked.endpoint < 0 and asked.code not in (row.outcome, "not told"):
            return "another code is recorded"
        if asked.endpoint >= 0 and row.outcome != "served":
            return "an endpoint's answer is not recorded as one"
        if asked.status == 500 and asked.endpoint >= 0:
            self.reasons["500 passed on"] += 1
            did = [event.get("did") for event in self.evidence.events[asked.id]]
            return "" if {"500", "500 early"} & set(did) else "no endpoint answered 500"
        self.reasons[row.denied or row.outcome] += 1
        return self.denied(asked, row)

    def broken(self, asked: Asked, row: Row) -> str:
        """A broken answer must have begun, and its endpoint must be at fault."""
        began = [event["endpoint"] for event in self.evidence.events[asked.id] if event["what"] == "began"]
        if asked.status not in (101, 200) or not began:
            return "no answer had begun"
        did = self.evidence.did(began[-1], asked.began, asked.ended + 0.1)
        if asked.status == 101:
            return "" if did & {"dead", "frozen"} else "a tunnel broke whose endpoint was well"
        if row.outcome not in CUT:
            return "not recorded as cut short"
        return "" if did != {"well"} else "an answer broke off whose endpoint was well"

    def denied(self, asked: Asked, row: Row) -> str:
        """Whether the reason why there was no other attempt holds."""
        kind = row.tried[-1][1] if row.tried else ""
        tried = {address for address, _ in row.tried}
        ready = self.evidence.ready(row.ended - LATE_S / 2, row.ended)
        others = [n for n in ready if f"127.0.0.1:{self.evidence.ports[n]}" not in tried]
        match row.denied:
            case "unsafe":
                return "it was safe" if asked.safe or kind in UNTOUCHED else ""
            case "body not kept":
                return "its body was small" if asked.kept else ""
            case "attempts used up":
                allowed = self.evidence.turmoil.attempts.get(row.generation, max(ATTEMPTS))
                return "" if len(row.tried) >= allowed else f"{allowed} attempts were allowed"
            case "budget used up":
                return "" if self.retries(row.ended - WINDOW_S - 2, row.ended + 2) >= FLOOR_PER_S * WINDOW_S else "the budget was hardly touched"
            case "no endpoint":
                return self.nobody(row, list(ready))
            case "asked to wait longer":
                return f"{others} were ready" if others else ""
            case "no time left":
                return "" if row.ended - row.began > TOTAL_S - 0.5 else "there was time"
        match row.outcome:
            case "upstream_unavailable" | "upstream_circuit_open" | "upstream_queue_full" | "upstream_queue_timeout":
                return self.nobody(row, list(ready))
            case "total_timeout":
                return "" if row.ended - row.began > TOTAL_S - 0.1 else "there was time"
        return "no reason is recorded"

    def nobody(self, row: Row, ready: list[int]) -> str:
        """Whether there was nobody indeed: by what the daemon knew, and by what it should have known."""
        if ready:
            return f"{ready} were ready"
        since = row.ended - WELL_AGAIN_S
        is_drained = lambda n: any(d.endpoint == n and d.since < row.ended and d.until > since for d in self.evidence.turmoil.drained)
        well = [n for n in range(len(self.evidence.ports)) if self.evidence.did(n, since, row.ended) == {"well"} and not is_drained(n)]
        return f"{well} had been well for long" if well and row.began > self.evidence.began + WELL_AGAIN_S else ""

    def retries(self, since: float, until: float) -> float:
        figures = [retries for at, retries in self.evidence.turmoil.budget if since <= at <= until]
        return figures[-1] - figures[0] if figures else 0.0

    def honest(self, failed: list[Asked]) -> None:
        """An error says what it is, in time; no answer is missing, whoever was faulty."""
        longest = max((one.ended - one.began for one in failed if not one.broken), default=0.0)
        wrong = [one for one in failed if not one.broken and (one.status not in (500, 502, 503, 504) or not (one.code or one.endpoint >= 0))]
        wrong += [one for one in failed if not one.status]
        wrong += [one for one in failed if not one.broken and one.ended - one.began > TOTAL_S + 1]
        within = self.evidence.turmoil.all_faulty
        during = sum(1 for one in failed if any(since <= one.began <= until for since, until in within))
        told = f"the longest took {longest:.1f} s; {during} while all five were faulty ({len(within)} times)"
        self.law("every failure is honest: 500, 502, 503 or 504, whose it is, in time", [self.evidence.facts(one) for one in wrong], told)

    # --- the record and what was sent

    def recorded(self, every: list[Asked]) -> None:
        rows = self.evidence.rows
        wrong = [one for one in every if not one.left and one.status and len(rows.get(one.id, [])) != 1]
        wrong += [one for one in every if len(rows.get(one.id, [])) > 1]
        strange = [id for id in rows if id not in self.evidence.asked]
        self.law("every request is recorded once", [self.evidence.facts(one) for one in wrong] + strange, f"{len(every)} requests")

    def sent(self, every: list[Asked]) -> None:
        """How often endpoints saw a request."""
        unsafe, often, count = [], [], 0
        for one in every:
            heads = [event for event in self.evidence.events.get(one.id, []) if event["what"] == "head"]
            row = self.evidence.row(one.id)
            count += not one.safe
            if not one.safe and len(heads) > 1:
                unsafe.append(self.evidence.facts(one))
            if row and len(heads) > row.attempts:
                often.append(self.evidence.facts(one))
        self.law("no unsafe request reached endpoints twice", unsafe, f"{count} of them")
        self.law("no request reached endpoints oftener than its row says", often, "")

    def elsewhere(self) -> None:
        """Whoever failed is tried again only where there was no other."""
        wrong = []
        for id, rows in self.evidence.rows.items():
            asked = self.evidence.asked.get(id)
            for row in rows:
                addresses = [address for address, _ in row.tried]
                if not asked or len(set(addresses)) == len(addresses):
                    continue
                other = [n for n in self.evidence.ready(row.began, row.ended) if f"127.0.0.1:{self.evidence.ports[n]}" not in addresses]
                if other:
                    wrong.append(f"{other} were ready: {self.evidence.facts(asked)}")
        self.law("another endpoint is tried first", wrong, "")

    def drained(self) -> None:
        """From the command's answer on nothing new comes, but what was on its way."""
        wrong, judged = [], 0
        for drained in self.evidence.turmoil.drained:
            for at, id in self.evidence.heads[drained.endpoint]:
                if not drained.since < at < drained.until or (asked := self.evidence.asked.get(id)) is None:
                    continue
                judged += 1
                was_frozen = "frozen" in self.evidence.did(drained.endpoint, drained.since - LATE_S, at)
                is_late = at > drained.since + CONNECT_S + LATE_S and not was_frozen
                if asked.began > drained.since or is_late:
                    since = f"asked {asked.began - drained.since:.3f} s and sent {at - drained.since:.3f} s after"
                    wrong.append(f"{drained.endpoint} was drained, {since}: {self.evidence.facts(asked)}")
        told = f"{len(self.evidence.turmoil.drained)} drains; {judged} requests were on their way"
        self.law("no endpoint sees a new request while it is drained", wrong, told)

    def breakers(self) -> None:
        """An open breaker lets nothing through; a half-open one its trials."""
        wrong, opens, halves = [], 0, 0
        samples = self.evidence.turmoil.samples
        left = {one.id for one in self.evidence.asked.values() if one.left}
        for n, heads in enumerate(self.evidence.heads):
            trials: set[str] = set()
            for (_, since, one), (until, _, two) in zip(samples, samples[1:]):
                a, b = one["endpoints"][n], two["endpoints"][n]
                if a["state"] != b["state"] or a["state"] not in ("open", "half_open") or a.get("since") != b.get("since"):
                    trials = set()
                    continue
                came = {id for at, id in heads if since < at < until and "frozen" not in self.evidence.did(n, at - 3, at)}
                # What was chosen before it opened may come a little later.
                came -= {id for id in came if (asked := self.evidence.asked.get(id)) and asked.began < since - TOTAL_S / 2}
                if a["state"] == "open":
                    opens += 1
                    early = [s for s in samples if until - CONNECT_S - LATE_S <= s[0] <= since]
                    settled = early and all(s[2]["endpoints"][n]["state"] == "open" for s in early)
                    if came and settled:
                        wrong.append(f"{n} open: {[self.evidence.facts(self.evidence.asked[id]) for id in came]}")
                else:
                    halves += 1
                    trials |= came - left
                    if len(trials) > TRIALS:
                        wrong.append(f"{n} half open: {len(trials)} trials, {[self.evidence.facts(self.evidence.asked[id]) for id in trials]}")
                        trials = set()
        self.law("an open breaker lets nothing through but trials", wrong, f"open in {opens} samples, half open in {halves}")

    def ejected(self) -> None:
        counts = [sum(one["state"] == "ejected" for one in line["endpoints"]) for _, _, line in self.evidence.turmoil.samples]
        self.law("never more are ejected than may be", [count for count in counts if count > MAX_EJECTED], f"at most {max(counts)} at once")

    def budget(self, every: list[Asked]) -> None:
        """In ten seconds no more is sent again than the share of what came, and the floor of each worker."""
        wrong, most = [], 0.0
        began = sorted(one.began for one in every)
        figures = self.evidence.turmoil.budget
        for first, (since, retries_before) in enumerate(figures):
            later = [(at, retries) for at, retries in figures[first:] if at - since <= WINDOW_S]
            until, retries = later[-1]
            # A worker's ten seconds may have begun earlier.
            came = max(sum(at <= t < at + WINDOW_S for t in began) for at in (since - WINDOW_S, since - WINDOW_S / 2, since - 1, since))
            # The workers' ten seconds are not the same, nor is how the requests fall on them.
            allowed = 1.1 * BUDGET * came + FLOOR_PER_S * WINDOW_S * WORKERS
            share = (retries - retries_before) / max(came, 1)
            most = max(most, share)
            if retries - retries_before > allowed:
                wrong.append(f"{retries - retries_before:.0f} retries for {came} requests in {until - since:.1f} s")
        self.law("retries keep to their budget", wrong, f"at most {most:.0%} of the requests of ten seconds")

    def sticky(self) -> None:
        """A client with a cookie stays where it was, as long as that one is ready."""
        wrong, stayed, before = [], 0, {}
        for asked in self.evidence.asked.values():
            if asked.client < 0 or asked.endpoint < 0:
                continue
            was, row = before.get(asked.client), self.evidence.row(asked.id)
            before[asked.client] = asked.endpoint
            if was is None or row is None:
                continue
            stayed += was == asked.endpoint
            if was != asked.endpoint and not row.tried and was in self.evidence.ready(row.began - 0.2, row.ended):
                wrong.append(f"was at {was}: {self.evidence.facts(asked)}")
        self.law("a sticky client stays with an endpoint that is ready", wrong, f"{stayed} stayed")


def clean(every: list[Asked], since: float, until: float) -> tuple[list[Asked], int]:
    """Failures of requests that began between, and how many began."""
    within = [one for one in every if since <= one.began <= until]
    return [one for one in within if one.failed], len(within)

