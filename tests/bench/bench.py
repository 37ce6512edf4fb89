#!/usr/bin/env python3
"""Measures dcos-registry beside its peers: docker-registry, nginx, cp, sha256sum and openssl, in the same run.

    tests/bench/bench.py [--binary target/release/dcos-registry] [--smoke] [--only NAME ...] [--json FILE]

Every contestant runs once per round in a turning order, the best of its rounds counts, and all samples are kept.
The table goes to standard output, everything to the JSON file. The load generators (curl, wrk, this program) share
the cores with the server, the same for all: ratios are worth more than figures. The peers are installed if missing.

Exit code: 0 measured, 1 something could not be measured, 3 the machine is busy (see --busy and --wait).
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

# No compiled copies beside the sources.
sys.dont_write_bytecode = True

import scale
import workloads
from measure import Result, await_quiet, describe, machine, table
from servers import HERE

ROOT = HERE.parent.parent
MIB = 2**20

BENCHMARKS = {
    "ingest": workloads.ingest,
    "verify": workloads.verify,
    "read-large": workloads.read_large,
    "read-small": workloads.read_small,
    "publish": scale.publish_curve,
    "cold-start": scale.cold_start,
    "mark": scale.mark,
    "idle": scale.idle_requests,
    "memory": scale.memory,
}

FULL = {
    "ingest": 256 * MIB,
    "verify": 4096 * MIB,
    "read": 256 * MIB,
    "versions": 10_000,
    "instances": 3,
    "idle": 60,
    "uploads": 8,
    "upload": 500_000_000,
    "downloads": 64,
}

# Everything once and small, to see that it runs. The figures mean nothing.
SMOKE = {
    "ingest": 16 * MIB,
    "verify": 64 * MIB,
    "read": 16 * MIB,
    "versions": 100,
    "instances": 2,
    "idle": 5,
    "uploads": 2,
    "upload": 20_000_000,
    "downloads": 8,
}

MOST_LOAD = 0.5


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/dcos-registry")
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--smoke", action="store_true", help="small sizes, one round, under a minute")
    parser.add_argument("--rounds", type=int, help="rounds of each contestant (5; 1 with --smoke)")
    parser.add_argument("--size", nargs="+", default=[], metavar="KEY=NUMBER", help="other sizes: " + ", ".join(FULL))
    parser.add_argument("--json", type=pathlib.Path, default=ROOT / "target/bench/bench.json")
    parser.add_argument("--directory", type=pathlib.Path, default=ROOT / "target/bench", help="where data is kept")
    parser.add_argument("--port", type=int, default=28600, help="the first of 200 ports of loopback")
    parser.add_argument("--busy", action="store_true", help="measure even if the machine is busy")
    parser.add_argument("--wait", type=int, default=0, metavar="SECONDS", help="wait so long for the machine to be idle")
    parser.add_argument("--peers-only", action="store_true", help="without dcos-registry, to try the peers")
    options = parser.parse_args()
    options.sizes = dict(SMOKE if options.smoke else FULL)
    for pair in options.size:
        key, _, value = pair.partition("=")
        if key not in options.sizes or not value.isdigit():
            parser.error(f"--size {pair}: write KEY=NUMBER with one of {', '.join(FULL)}")
        options.sizes[key] = int(value)
    options.rounds = options.rounds or (1 if options.smoke else 5)
    options.seconds = 1 if options.smoke else 5
    if not options.peers_only and not options.binary.is_file():
        parser.error(f"{options.binary} is not there; build it with cargo build --release, or name it with --binary")
    options.binary = options.binary.resolve()
    return options


def run(options):
    """All benchmarks that are wanted; a failing one does not keep the others from running."""
    results = []
    options.directory.mkdir(parents=True, exist_ok=True)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=options.directory))
    bench = workloads.Bench(options, directory)
    try:
        for name in options.only or BENCHMARKS:
            started = time.monotonic()
            try:
                found = BENCHMARKS[name](bench)
            except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                found = [Result(name, "s")]
                found[0].problems.append(describe(error))
            finally:
                bench.stop_all()
            results += found
            print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    finally:
        bench.stop_all()
        shutil.rmtree(directory, ignore_errors=True)
    return results


def end_early(*_):
    # `timeout` sends the signal twice; the second must not end the cleaning up.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def main():
    options = arguments()
    # Whoever ends us early still has everything stopped that we started.
    signal.signal(signal.SIGTERM, end_early)
    os.environ["PATH"] += ":/usr/sbin"
    if not (options.smoke or options.busy) and not await_quiet(MOST_LOAD, options.wait):
        print(f"the load is {os.getloadavg()[0]:.2f}, more than {MOST_LOAD}: figures would mean nothing; "
              "try later, or with --wait 600, or with --busy", file=sys.stderr)
        return 3
    subprocess.run([HERE / "peers.sh", "install"], check=True, timeout=1800)
    about = machine(options.binary)
    print(json.dumps(about, indent=1), file=sys.stderr)
    results = run(options)
    report = {
        "machine": about,
        "rounds": options.rounds,
        "smoke": options.smoke,
        "busy": options.busy,
        "sizes": options.sizes,
        "results": [result.as_json() for result in results],
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(report, indent=1) + "\n")
    print(table(results))
    print(f"samples and machine: {options.json}")
    return 1 if any(result.problems for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
