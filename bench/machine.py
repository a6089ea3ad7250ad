"""What the machine tells: processor time of cores and processes, memory, and where things may run."""

import os
import pathlib
import platform
import resource
import subprocess
import time

PROXY_CORE, LOAD_CORE = 0, 1
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def pinned(cores: tuple[int, ...], command: list[str]) -> list[str]:
    """The command, held to these cores."""
    return ["taskset", "-c", ",".join(str(core) for core in cores), *command]


def make_room() -> None:
    """Takes what the run needs: file descriptors for 10,000 clients, and precedence where it may be had."""
    if not {PROXY_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        raise SystemExit("bench: it takes two cores, one for the proxy and one for the load")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (65536, max(hard, 65536)))
    except (ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if hard < 12000:
            raise SystemExit(
                f"bench: {hard} file descriptors are too few for 10,000 clients: raise `ulimit -Hn`"
            ) from None
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -10)
        # Where the kernel groups processes by session, precedence is the group's; bench/run gives us a session of our own.
        group = pathlib.Path("/proc/self/autogroup")
        if group.exists() and os.getsid(0) == os.getpid():
            group.write_text("-10")
    except OSError:
        print("bench: without root the run has no precedence over other work on this machine")


def family(root: int) -> list[int]:
    """A process and all that came from it."""
    parents: dict[int, list[int]] = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, front = [], [root]
    while front:
        one = front.pop()
        found.append(one)
        front += parents.get(one, [])
    return found


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; none where the process is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def processor_seconds(pids: list[int]) -> tuple[float, float]:
    """User and system time of processes, their threads and the children they have waited for."""
    user = system = 0
    for pid in pids:
        fields = _stat(pid)
        if fields:
            user += int(fields[11]) + int(fields[13])
            system += int(fields[12]) + int(fields[14])
    return user / TICK, system / TICK


def resident(pids: list[int]) -> int:
    """Resident bytes of processes."""
    total = 0
    for pid in pids:
        try:
            total += int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
        except OSError:
            continue
    return total


def busy_seconds() -> dict[int, float]:
    """Seconds of work on each core so far; what the host took away counts too."""
    found = {}
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        words = line.split()
        if words[0].startswith("cpu") and words[0] != "cpu":
            user, nice, system, _idle, _wait, hard, soft, stolen = (int(word) for word in words[1:9])
            found[int(words[0][3:])] = (user + nice + system + hard + soft + stolen) / TICK
    return found


def wait_for(condition, seconds: float, what: str) -> None:
    """Waits until the condition holds, or says what did not come about."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise SystemExit(f"bench: {what} within {seconds:.0f} s")
        time.sleep(0.02)


def first_line(command: list[str]) -> str:
    """The first line that a command prints, wherever it prints it."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[0].strip() if lines else "?"


def described() -> str:
    """The machine in one line."""
    model = "?"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    release = "?"
    for line in pathlib.Path("/etc/os-release").read_text().splitlines():
        if line.startswith("PRETTY_NAME="):
            release = line.partition("=")[2].strip('"')
    kernel = platform.release().partition("-")[0]
    control = pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    return f"{os.cpu_count()} cores, {model}, {release}, Linux {kernel}, TCP {control}"
