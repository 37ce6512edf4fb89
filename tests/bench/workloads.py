"""The benchmarks of blobs: how fast they come in, are verified, and go out."""

import os
import re
import subprocess
import time

from bodies import Blob, Bundle
from measure import Result, command, interleave, timed
from servers import Connection, Ours, Peer, Registry, descendants, processor_seconds


class Bench:
    """What all benchmarks are given: sizes, places, and the binary that is measured."""

    def __init__(self, options, directory):
        self.sizes, self.rounds, self.directory = options.sizes, options.rounds, directory
        self.binary, self.seconds = options.binary, options.seconds
        self.ours_wanted = not options.peers_only
        self.ports = iter(range(options.port, options.port + 200))
        self.running = []

    def registry(self, name="registry"):
        return self.keep(Registry(next(self.ports), self.directory / name))

    def nginx(self):
        return self.keep(Peer("nginx", next(self.ports), self.directory / "nginx"))

    def ours(self, result, name="ours", start=True, **more):
        """Our server, or None with the reason in the result: a peer's figures are worth having alone."""
        if not self.ours_wanted:
            result.problems.append("ours: left out by --peers-only")
            return None
        ours = self.keep(Ours(self.binary, next(self.ports), self.directory / name, **more))
        if start:
            try:
                ours.start()
            except (OSError, RuntimeError) as error:
                result.problems.append(f"ours: {error}")
                return None
        return ours

    def keep(self, server):
        self.running.append(server)
        return server

    def stop_all(self):
        while self.running:
            self.running.pop().stop()


def mib(size):
    return f"{size / 2**20:g} MiB"


def ingest(bench):
    """One blob until it is durably acknowledged."""
    size = bench.sizes["ingest"]
    targets = {"docker-registry": 2.7, "cp + sync": 1 / 2.5}
    result = Result(f"ingest of {mib(size)}, durable", "s", targets, "ours receives a whole bundle in one request")
    registry, ours = bench.registry(), bench.ours(result)
    # The first round of each warms caches and connections up and does not count.
    blobs = [Blob(f"ingest {turn}", size) for turn in range(bench.rounds + 1)]
    source, target = bench.directory / "source", bench.directory / "copy"

    def push(turn):
        connection = Connection(registry.url)
        os.sync()
        return timed(lambda: registry.push_blob(connection, "bench/ingest", blobs[turn]))

    def copy(turn):
        blobs[turn].write(source)
        os.sync()
        # One process for both, so that its start counts once.
        script = 'cp "$1" "$2" && sync "$2" && sync "$(dirname "$2")"'
        spent = timed(lambda: command(["sh", "-c", script, "sh", source, target]))
        target.unlink()
        return spent

    def publish(turn):
        bundle = Bundle("bench-ingest", str(turn), {"data.bin": blobs[turn]})
        connection = Connection(ours.url)
        os.sync()
        return timed(lambda: ours.publish(connection, bundle))

    contestants = [("docker-registry", push), ("cp + sync", copy)] + ([("ours", publish)] if ours else [])
    interleave(result, contestants, bench.rounds + 1)
    for values in result.samples.values():
        del values[0]
    return [result]


def verify(bench):
    """Reading everything that is kept and comparing it with its digests, from the page cache."""
    total, count = bench.sizes["verify"], 16
    result = Result(f"verify of {mib(total)}", "s", {"sha256sum": 3.5, "openssl": 0.95})
    blobs = [Blob(f"verify {index}", total // count) for index in range(count)]
    ours, files = bench.ours(result, "verify"), []
    if ours:
        connection = Connection(ours.url)
        for index, blob in enumerate(blobs):
            ours.publish(connection, Bundle("bench-verify", str(index), {"data.bin": blob}))
        ours.stop()
        files = ours.files_of_size(blobs[0].size)
        if len(files) != count:
            result.problems.append(f"ours: {len(files)} of {count} blobs were found as files; peers read copies")
    if len(files) != count:
        files = [bench.directory / f"verify-{index}" for index in range(count)]
        for file, blob in zip(files, blobs):
            blob.write(file)
    os.sync()
    for file in files:
        subprocess.run(["cksum", file], stdout=subprocess.DEVNULL)
    contestants = [
        ("sha256sum", lambda _: timed(lambda: command(["sha256sum", *files]))),
        ("openssl", lambda _: timed(lambda: command(["openssl", "dgst", "-sha256", *files]))),
    ]
    if ours:
        contestants.append(("ours", lambda _: timed(lambda: command(ours.storage("scrub")))))
    interleave(result, contestants, bench.rounds)
    return [result]


def fetch(url, clients):
    """Seconds until so many clients at once have the whole of it."""
    arguments = ["curl", "-s", "-S", "--fail", "--max-time", "600", "-o", "/dev/null", url]
    started = time.perf_counter()
    running = [subprocess.Popen(arguments, stdin=subprocess.DEVNULL) for _ in range(clients)]
    # Waiting with a limit looks only every 50 ms, which is half of what is measured; curl has the limit instead.
    codes = [process.wait() for process in running]
    spent = time.perf_counter() - started
    if any(codes):
        raise RuntimeError(f"curl {url[:80]}: exit codes {codes}")
    return spent


def load(url, seconds, connections=32):
    """Requests per second and the 99th percentile in ms, by wrk."""
    done = command(["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "--latency", url])
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise RuntimeError(f"wrk {url[:80]}: {done.stdout[-300:]}")
    unit = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    late, what = re.search(r"99%\s+([\d.]+)(us|ms|s)", done.stdout).groups()
    return float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout).group(1)), float(late) * unit[what]


def places(bench, result, name, blob):
    """The same blob at nginx, docker-registry and ours: name, URL and server of each."""
    nginx, registry, ours = bench.nginx(), bench.registry(), bench.ours(result)
    blob.write(bench.directory / "nginx" / "files" / name)
    registry.push_blob(Connection(registry.url), f"bench/{name}", blob)
    found = [
        ("nginx", f"{nginx.url}/{name}", nginx),
        ("docker-registry", registry.blob_url(f"bench/{name}", blob), registry),
    ]
    if ours:
        bundle = Bundle(f"bench-{name}", "1", {"data.bin": blob})
        ours.publish(Connection(ours.url), bundle)
        found.append(("ours", ours.url + bundle.path("data.bin"), ours))
    return found


def read_large(bench):
    """A large blob out, to one client and to eight, with the processor time of the server."""
    size = bench.sizes["read"]
    results = []
    for clients in (1, 8):
        targets = {"nginx": 1.0, "docker-registry": 1.0}
        result = Result(f"GET of {mib(size)}, {clients} client{'s' * (clients > 1)}", "MB/s", targets)
        found = places(bench, result, "large", Blob("read", size))
        spent = {}

        def get(who, url, server):
            def run(_):
                pids = descendants(server.pid)
                before = processor_seconds(pids)
                seconds = fetch(url, clients)
                used = processor_seconds(pids) - before
                spent.setdefault(who, []).append(used / (clients * size / 2**30))
                return clients * size / 1e6 / seconds

            return (who, run)

        for who, url, _ in found:
            # The first, verifying read is a figure of its own.
            result.extra[f"{who}, first read, MB/s"] = size / 1e6 / fetch(url, 1)
        interleave(result, [get(*place) for place in found], bench.rounds)
        result.extra["processor s per GiB"] = {who: min(values) for who, values in spent.items()}
        bench.stop_all()
        results.append(result)
    return results


def read_small(bench):
    """A 4 KiB blob over 32 kept-alive connections."""
    result = Result("GET of 4 KiB, 32 connections", "requests/s", {"nginx": 1.0, "docker-registry": 50.0})
    late = {}

    def get(who, url):
        def run(_):
            rate, slowest = load(url, bench.seconds)
            late.setdefault(who, []).append(slowest)
            return rate

        return (who, run)

    found = places(bench, result, "small", Blob("small", 4096))
    interleave(result, [get(who, url) for who, url, _ in found], bench.rounds)
    result.extra["p99 ms"] = {who: min(values) for who, values in late.items()}
    return [result]
