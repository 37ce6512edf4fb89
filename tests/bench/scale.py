"""The benchmarks of many: ten thousand versions, a hundred thousand blobs, many clients, several instances."""

import json
import socket
import threading
import time
import urllib.parse

from bodies import Blob, Bundle, as_json
from measure import Result, command, interleave, percentile, timed
from servers import PARTS, Connection, Program, image, most_memory

BLOBS_PER_VERSION = 10


def version(index):
    """A package version of ten small files, one of them of 4 KiB; a hundred versions to a name."""
    assets = {"data.bin": Blob(f"version {index}", 4096)}
    for part in range(1, BLOBS_PER_VERSION):
        assets[f"part-{part}.bin"] = Blob(f"version {index} part {part}", 100)
    return Bundle(f"bench-{index // 100:04}", f"1.{index % 100}", assets)


class Crowd:
    """The store with many versions: made once per run, by the publishing benchmark or for those after it."""

    def __init__(self):
        self.ours = None

    def fill(self, bench, result):
        """Our server, stopped, with everything published. None with the reason where that fails."""
        if self.ours is None:
            ours = bench.ours(result, "crowd")
            if ours is None:
                return None
            connection = Connection(ours.url)
            for index in range(bench.sizes["versions"]):
                ours.publish(connection, version(index))
            self.ours = ours
        self.ours.stop()
        return bench.keep(self.ours)


CROWD = Crowd()


def publish_curve(bench):
    """Whether publishing becomes slower with the number of versions: medians of a window around each number."""
    count = bench.sizes["versions"]
    window = max(count // 100, 5)
    early = f"publish number {window}, of {count}"
    result = Result(f"publish number {count}, durable", "ms", {}, f"{BLOBS_PER_VERSION} small files each")
    growth = Result(f"publish number {count} against number {window}, p99", "times", {"": 1.5})
    registry, ours = bench.registry(), bench.ours(result, "crowd")
    to_registry, spent = Connection(registry.url), {"docker-registry": []}

    def push(index, bundle):
        """The same files as an image with one layer each. Much slower, so it does every twentieth version."""
        layers = list(bundle.assets.values())
        config = as_json({"architecture": "amd64", "os": "linux", "index": index})
        for blob in [config, *layers]:
            registry.push_blob(to_registry, "bench/crowd", blob)
        registry.push_manifest(to_registry, "bench/crowd", f"v{index}", config, layers)

    if ours:
        spent["ours"], to_ours = [], Connection(ours.url)
    for index in range(count):
        bundle = version(index)
        if ours:
            spent["ours"].append(timed(lambda: ours.publish(to_ours, bundle)) * 1000)
        if index % 20 == 0:
            spent["docker-registry"].append(timed(lambda: push(index, bundle)) * 1000)
    for who, values in spent.items():
        wide = window if who == "ours" else max(window // 20, 5)
        first, last = values[wide : 2 * wide] or values, values[-wide:]
        result.add(who, percentile(last, 0.5))
        result.extra[who] = {
            early: {"p50": percentile(first, 0.5), "p99": percentile(first, 0.99)},
            "last": {"p50": percentile(last, 0.5), "p99": percentile(last, 0.99)},
            "published": len(values),
        }
        growth.add(who, percentile(last, 0.99) / percentile(first, 0.99))
    if ours:
        CROWD.ours = ours
    return [result, growth]


def fill_registry(registry, versions):
    """The same crowd for docker-registry, written as files in its own layout: pushing would take an hour. Only what
    its collector reads: the blobs, and the revisions of the manifests that name them."""
    root = registry.directory / "data/docker/registry/v2"
    repository = root / "repositories/bench/crowd"
    # By this folder it knows a repository.
    (repository / "_layers").mkdir(parents=True)

    def keep(blob):
        folder = root / "blobs/sha256" / blob.hex[:2] / blob.hex
        folder.mkdir(parents=True)
        blob.write(folder / "data")
        return blob

    for index in range(versions):
        layers = [keep(asset) for asset in version(index).assets.values()]
        config = keep(as_json({"architecture": "amd64", "os": "linux", "index": index}))
        manifest = keep(Blob.of(json.dumps(image(config, layers)).encode()))
        revision = repository / "_manifests/revisions/sha256" / manifest.hex
        revision.mkdir(parents=True)
        (revision / "link").write_text(manifest.digest)


def cold_start(bench):
    """From the start of the process until it is ready, with everything in the page cache."""
    count = bench.sizes["versions"]
    note = f"{count * BLOBS_PER_VERSION} blobs; docker-registry reads nothing at start"
    result = Result(f"cold start with {count} versions", "s", {"": 0.1}, note)
    ours, registry = CROWD.fill(bench, result), bench.registry()
    registry.stop()
    registry = bench.keep(Program(["docker-registry", "serve", registry.config], registry.url + "/v2/", registry.directory))

    def start(server):
        def run(_):
            server.stop()
            return server.start()

        return run

    contestants = [("docker-registry", start(registry))] + ([("ours", start(ours))] if ours else [])
    interleave(result, contestants, bench.rounds)
    return [result]


def mark(bench):
    """Finding what nobody needs any more, without deleting it."""
    count = bench.sizes["versions"]
    blobs = count * BLOBS_PER_VERSION
    result = Result(f"mark of {blobs} blobs", "s", {"docker-registry": 20.0, "": 0.2})
    ours, registry = CROWD.fill(bench, result), bench.registry("registry-crowd")
    registry.stop()
    fill_registry(registry, count)
    collect = ["docker-registry", "garbage-collect", "--dry-run", registry.config]
    contestants = [("docker-registry", lambda _: timed(lambda: command(collect)))]
    if ours:
        contestants.append(("ours", lambda _: timed(lambda: command(ours.storage("gc", "--dry-run")))))
    interleave(result, contestants, bench.rounds)
    return [result]


def idle_requests(bench):
    """What instances that have nothing to do ask of a bucket, counted by the store's own log."""
    instances, seconds = bench.sizes["instances"], bench.sizes["idle"]
    note = "no peer; Kubernetes' leader election by default asks every 2 s"
    result = Result(f"idle store requests, {instances} instances", "requests/s/instance", {"": 1.0}, note)
    directory = bench.directory / "moto"
    script = PARTS / "servers.sh"
    if not bench.ours_wanted:
        result.problems.append("ours: left out by --peers-only")
        return [result]
    started = command([script, "start", "moto", str(next(bench.ports)), directory], timeout=600)
    try:
        server = json.loads(started.stdout)
        environment = {
            "AWS_ACCESS_KEY_ID": server["accessKey"],
            "AWS_SECRET_ACCESS_KEY": server["secretKey"],
        }
        keys = ("bucket", "endpoint", "region")
        storage = {"s3": {key: server[key] for key in keys}}
        running = []
        for index in range(instances):
            ours = bench.ours(result, f"idle-{index}", storage=storage, environment=environment)
            if ours is None:
                return [result]
            running.append(ours)
        # Whoever leads has been settled by then.
        time.sleep(15)
        log = directory / "moto.log"
        before = log.read_bytes()
        time.sleep(seconds)
        asked = [line for line in log.read_bytes()[len(before) :].splitlines() if b'"' in line and b"HTTP/1" in line]
        result.add("ours", len(asked) / seconds / instances)
        kinds = {}
        for line in asked:
            kind = line.split(b'"')[1].split(b" ")[0].decode()
            kinds[kind] = kinds.get(kind, 0) + 1
        result.extra["requests by method"] = kinds
    finally:
        for ours in bench.running:
            ours.stop()
        command([script, "stop", directory])
    return [result]


def sip(url, stop, seconds_per_piece=0.25, piece=65536):
    """A slow download: so much per so long, until told to stop."""
    parts = urllib.parse.urlsplit(url)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, piece)
        client.settimeout(60)
        client.connect((parts.hostname, parts.port))
        client.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
        while not stop.wait(seconds_per_piece):
            if not client.recv(piece):
                return


def under_load(url, uploads, downloads):
    """Runs the uploads at once beside slow downloads of one URL; all uploads must succeed."""
    stop, failures = threading.Event(), []

    def guarded(run):
        try:
            run()
        except (OSError, RuntimeError) as error:
            failures.append(error)

    slow = [threading.Thread(target=sip, args=(url, stop), daemon=True) for _ in range(downloads)]
    fast = [threading.Thread(target=guarded, args=(upload,), daemon=True) for upload in uploads]
    for thread in slow + fast:
        thread.start()
    for thread in fast:
        thread.join(900)
    stop.set()
    for thread in slow:
        thread.join(10)
    if failures:
        raise RuntimeError(f"{len(failures)} of {len(uploads)} uploads failed: {failures[0]}")


def memory(bench):
    """The most memory that the server ever held, with many versions, large uploads and slow downloads at once."""
    uploads, size, downloads = bench.sizes["uploads"], bench.sizes["upload"], bench.sizes["downloads"]
    name = f"peak memory, {uploads} uploads of {size / 1e6:g} MB, {downloads} slow downloads"
    result = Result(name, "MiB", {"docker-registry": 2.0, "": 128.0})
    ours, registry = CROWD.fill(bench, result), bench.registry("registry-memory")
    read = Blob("sipped", bench.sizes["read"])
    large = [Blob(f"upload {index}", size) for index in range(uploads)]

    def of_registry(_):
        registry.push_blob(Connection(registry.url), "bench/sipped", read)
        push = lambda blob: registry.push_blob(Connection(registry.url), "bench/large", blob)
        under_load(registry.blob_url("bench/sipped", read), [lambda b=blob: push(b) for blob in large], downloads)
        return most_memory(registry.pid)

    def of_ours(_):
        ours.start()
        sipped = Bundle("bench-sipped", "1", {"data.bin": read})
        ours.publish(Connection(ours.url), sipped)
        bundles = [Bundle("bench-large", str(index), {"data.bin": blob}) for index, blob in enumerate(large)]
        send = lambda bundle: ours.publish(Connection(ours.url), bundle)
        under_load(ours.url + sipped.path("data.bin"), [lambda b=bundle: send(b) for bundle in bundles], downloads)
        return most_memory(ours.pid)

    interleave(result, [("docker-registry", of_registry)] + ([("ours", of_ours)] if ours else []), 1)
    return [result]
