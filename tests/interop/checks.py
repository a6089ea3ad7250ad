"""The runner: checks register themselves by name, each is run within a time limit, one line tells how it went."""

import signal
import sys
import traceback
from collections.abc import Callable

LONGEST_S = 120

Check = Callable[["World"], None]  # noqa: F821
REGISTERED: list[tuple[str, Check, int]] = []


class Skipped(Exception):
    """What the check needs is not on this machine; the text says what."""


class Overdue(Exception):
    """A check took too long."""


def check(name: str, longest_s: int = LONGEST_S) -> Callable[[Check], Check]:
    """Registers a check: a function of the world."""

    def keep(function: Check) -> Check:
        REGISTERED.append((name, function, longest_s))
        return function

    return keep


def same(found: object, expected: object, what: str = "") -> None:
    """Fails where two things differ, and shows both in short."""
    if found != expected:
        raise AssertionError(f"{what + ': ' if what else ''}{short(found)} instead of {short(expected)}")


def true(found: object, what: str) -> None:
    """Fails with this sentence where it is not so."""
    if not found:
        raise AssertionError(what)


def short(thing: object) -> str:
    """What fits a line."""
    text = repr(thing)
    return text if len(text) <= 300 else f"{text[:200]}… ({len(text)} characters)"


def overdue(_signal: int, _frame: object) -> None:
    raise Overdue("not done within its time")


def run(world: "World", wanted: list[str]) -> bool:  # noqa: F821
    """Runs the checks whose names contain one of the words, or all; prints, counts; whether all went well."""
    signal.signal(signal.SIGALRM, overdue)
    passed = failed = skipped = 0
    for name, function, longest_s in REGISTERED:
        if wanted and not any(word in name for word in wanted):
            continue
        signal.alarm(longest_s)
        try:
            function(world)
        except Skipped as reason:
            skipped += 1
            print(f"skip {name}: {reason}", flush=True)
        except Exception as error:  # Whatever it is, it is told, and the others are run.
            failed += 1
            where = traceback.extract_tb(error.__traceback__)[-1]
            print(f"FAIL {name}: {type(error).__name__}: {str(error)[:1500]} ({where.name}:{where.lineno})", flush=True)
        else:
            passed += 1
            print(f"ok {name}", flush=True)
        finally:
            signal.alarm(0)
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    sys.stdout.flush()
    return failed == 0 and passed > 0
