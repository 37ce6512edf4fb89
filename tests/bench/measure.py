"""How things are measured: interleaved rounds, the best of each, ratios against a peer, a table and a JSON file.

A ratio above 1 always means that ours is better than the peer. Losses are printed like wins.
"""

import os
import platform
import subprocess
import sys
import time


class Result:
    """What one benchmark found. `unit` says whether less or more is better (see `LESS`)."""

    LESS = ("s", "ms", "MiB", "requests/s/instance", "times")

    def __init__(self, name, unit, targets=None, note=""):
        self.name, self.unit, self.note = name, unit, note
        # Peer -> the least ratio that was promised; "" -> the bound of the figure itself.
        self.targets = targets or {}
        self.samples = {}
        self.extra = {}
        self.problems = []

    def add(self, who, value):
        self.samples.setdefault(who, []).append(value)

    def best(self, who):
        values = self.samples.get(who)
        if not values:
            return None
        return min(values) if self.unit in self.LESS else max(values)

    def ratio(self, peer):
        ours, theirs = self.best("ours"), self.best(peer)
        if not ours or not theirs:
            return None
        return theirs / ours if self.unit in self.LESS else ours / theirs

    def peers(self):
        return [who for who in self.samples if who != "ours"]

    def met(self, peer):
        """Whether a promise is kept; None where there is none, or nothing to compare."""
        target = self.targets.get(peer)
        value = self.best("ours") if peer == "" else self.ratio(peer)
        if target is None or value is None:
            return None
        return value <= target if peer == "" and self.unit in self.LESS else value >= target

    def as_json(self):
        compared = self.peers() + ([""] if "" in self.targets else [])
        return {
            "name": self.name,
            "unit": self.unit,
            "lessIsBetter": self.unit in self.LESS,
            "note": self.note,
            "samples": self.samples,
            "best": {who: self.best(who) for who in self.samples},
            "ratios": {peer: self.ratio(peer) for peer in self.peers()},
            "targets": {peer or "itself": target for peer, target in self.targets.items()},
            "met": {peer or "itself": self.met(peer) for peer in compared},
            "extra": self.extra,
            "problems": self.problems,
        }


def interleave(result, contestants, rounds):
    """Runs every contestant once per round, in a turning order, so that none always comes first.

    A contestant is (name, function) and the function returns one sample, or None to leave it out. Who fails is out
    of the race, and the reason is kept.
    """
    running = list(contestants)
    for turn in range(rounds):
        shift = turn % len(running) if running else 0
        for who, run in running[shift:] + running[:shift]:
            try:
                value = run(turn)
                if value is not None:
                    result.add(who, value)
            except Exception as error:  # The others go on; the reason is in the report.
                result.problems.append(f"{who}: {describe(error)}")
                running = [contestant for contestant in running if contestant[0] != who]


def describe(error):
    text = f"{type(error).__name__}: {error}"
    output = getattr(error, "stderr", None) or b""
    output = output.decode(errors="replace") if isinstance(output, bytes) else output
    return (text + (f" ({output.strip()[-300:]})" if output.strip() else ""))[:600]


def timed(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def command(arguments, timeout=600, **more):
    return subprocess.run(arguments, check=True, capture_output=True, timeout=timeout, text=True, **more)


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def first_line(arguments):
    try:
        done = subprocess.run(arguments, capture_output=True, timeout=20, text=True)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"not to be had ({error})"
    return (done.stdout + done.stderr).strip().split("\n")[0]


def processor():
    """Model and the flags that decide these benchmarks."""
    model, flags = "", []
    with open("/proc/cpuinfo") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                model = value.strip()
            elif name.strip() == "flags":
                flags = value.split()
    return {"model": model, "cores": os.cpu_count(), "flags": [f for f in ("sha_ni", "avx2", "avx512f") if f in flags]}


def machine(binary):
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "kernel": platform.release(),
        "processor": processor(),
        "memoryMiB": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "loadAtStart": round(os.getloadavg()[0], 2),
        "versions": {
            "ours": first_line([binary, "--version"]),
            "docker-registry": first_line(["docker-registry", "--version"]),
            "nginx": first_line(["nginx", "-v"]),
            "wrk": first_line(["wrk", "-v"]),
            "curl": first_line(["curl", "--version"]),
            "coreutils": first_line(["sha256sum", "--version"]),
            "openssl": first_line(["openssl", "version"]),
            "python": platform.python_version(),
        },
    }


def number(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table(results):
    """One line per comparison."""
    rows = [("benchmark", "unit", "ours", "peer", "its figure", "ratio", "promised", "")]
    for result in results:
        compared = ([""] if "" in result.targets or not result.peers() else []) + result.peers()
        for peer in compared:
            target = result.targets.get(peer)
            sign = "<=" if peer == "" and result.unit in Result.LESS else ">="
            met = {True: "met", False: "MISSED", None: ""}[result.met(peer)]
            shown = [number(result.best("ours")), peer or "(itself)"]
            shown += [number(result.best(peer)), number(result.ratio(peer))] if peer else ["", ""]
            rows.append((result.name, result.unit, *shown, f"{sign} {target:g}" if target else "", met))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    for result in results:
        lines += [f"{result.name}: {problem}" for problem in result.problems]
    return "\n".join(lines)


def await_quiet(limit, seconds):
    """Waits until the load is low. Measuring beside other work gives figures that mean nothing."""
    end = time.monotonic() + seconds
    while os.getloadavg()[0] > limit and time.monotonic() < end:
        print(f"load {os.getloadavg()[0]:.2f}, waiting for {limit}", file=sys.stderr, flush=True)
        time.sleep(10)
    return os.getloadavg()[0] <= limit
