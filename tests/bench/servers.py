"""The programs that run during a benchmark, ours and the peers, and how they are spoken to."""

import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import time
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
PARTS = HERE.parent / "parts"
TIMEOUT = 300


class Connection:
    """A kept-alive HTTP connection that sends bodies of many buffers without gathering them."""

    def __init__(self, url):
        self.http = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=TIMEOUT)

    def call(self, method, target, buffers=(), headers=None, expect=(200,)):
        """Returns the headers; a status that is not expected is an error with the server's words."""
        if target.startswith("http"):
            parts = urllib.parse.urlsplit(target)
            target = parts.path + (f"?{parts.query}" if parts.query else "")
        self.http.putrequest(method, target, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            self.http.putheader(name, value)
        if method != "GET":
            self.http.putheader("Content-Length", str(sum(len(buffer) for buffer in buffers)))
        self.http.endheaders()
        try:
            for buffer in buffers:
                self.http.sock.sendall(buffer)
        except (BrokenPipeError, ConnectionResetError):
            # The server has given up; its answer says why.
            pass
        answer = self.http.getresponse()
        body = answer.read()
        if answer.status not in expect:
            raise RuntimeError(f"{method} {target[:80]}: {answer.status} {body[:200]!r}")
        return answer.headers

    def close(self):
        self.http.close()


def processor_seconds(pids):
    """Processor time that the processes and their children have used."""
    ticks = 0
    for pid in pids:
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def descendants(pid):
    """The process and everything that it started."""
    found = [pid]
    for parent in found:
        for task in pathlib.Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def most_memory(pid):
    """The most memory that a process has held since it started (VmHWM), in MiB."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) / 1024


class Peer:
    """docker-registry or nginx, by peers.sh."""

    def __init__(self, kind, port, directory):
        self.kind, self.port, self.directory = kind, port, pathlib.Path(directory)
        self.start()

    def start(self):
        arguments = [HERE / "peers.sh", "start", self.kind, str(self.port), str(self.directory)]
        # Not captured by a pipe of ours for longer than the script runs: the server writes to its own log.
        done = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, timeout=60, text=True)
        self.__dict__.update(json.loads(done.stdout))

    @property
    def pid(self):
        return int((self.directory / "pids").read_text().split()[0])

    def stop(self):
        subprocess.run([HERE / "peers.sh", "stop", str(self.directory)], check=True, timeout=60)


MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def image(config, layers):
    """An image manifest."""
    entry = lambda blob, what: {"mediaType": what, "digest": blob.digest, "size": blob.size}
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": entry(config, "application/vnd.oci.image.config.v1+json"),
        "layers": [entry(layer, "application/vnd.oci.image.layer.v1.tar") for layer in layers],
    }


class Registry(Peer):
    """docker-registry, and what a client of it does."""

    def __init__(self, port, directory):
        super().__init__("registry", port, directory)

    def push_blob(self, connection, repository, blob):
        """The shortest push: POST for a place, one PUT with all bytes and the digest."""
        place = connection.call("POST", f"/v2/{repository}/blobs/uploads/", expect=(202,))["Location"]
        target = f"{place}{'&' if '?' in place else '?'}digest={urllib.parse.quote(blob.digest)}"
        headers = {"Content-Type": "application/octet-stream"}
        connection.call("PUT", target, blob.buffers, headers, expect=(201,))

    def push_manifest(self, connection, repository, tag, config, layers):
        body, kind = json.dumps(image(config, layers)).encode(), MANIFEST
        connection.call("PUT", f"/v2/{repository}/manifests/{tag}", [body], {"Content-Type": kind}, expect=(201,))

    def blob_url(self, repository, blob):
        return f"{self.url}/v2/{repository}/blobs/{blob.digest}"


class Program:
    """A server that is started by us and is ready when a URL answers 200; its words go to DIR/log."""

    def __init__(self, arguments, ready_url, directory, environment=None):
        self.arguments, self.directory = [str(argument) for argument in arguments], pathlib.Path(directory)
        self.ready_url, self.environment = urllib.parse.urlsplit(ready_url), {**os.environ, **(environment or {})}
        self.process = None

    def start(self, limit=60):
        """Starts and waits until it is ready; returns the seconds from the start of the process."""
        started = time.perf_counter()
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(
                self.arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment
            )
        while not self.ready():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.arguments[0]} has ended: {self.last_words()}")
            if time.perf_counter() - started > limit:
                self.stop()
                raise RuntimeError(f"{self.arguments[0]} is not ready after {limit} s: {self.last_words()}")
            time.sleep(0.001)
        return time.perf_counter() - started

    def ready(self):
        connection = http.client.HTTPConnection(self.ready_url.netloc, timeout=5)
        try:
            connection.request("GET", self.ready_url.path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def last_words(self):
        return (self.directory / "log").read_text(errors="replace").strip()[-300:]

    @property
    def pid(self):
        return self.process.pid

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)


class Ours(Program):
    """`dcos-registry run` on a directory or a bucket."""

    def __init__(self, binary, port, directory, storage=None, environment=None):
        self.binary, directory = str(binary), pathlib.Path(directory)
        self.url = f"http://127.0.0.1:{port}"
        self.root, self.config = directory / "data", directory / "config.yaml"
        directory.mkdir(parents=True, exist_ok=True)
        settings = {"listen": f"127.0.0.1:{port}", "storage": storage or {"local": {"path": str(self.root)}}}
        # JSON is YAML.
        self.config.write_text(json.dumps(settings, indent=1))
        arguments = [binary, "run", "--config", self.config]
        super().__init__(arguments, self.url + "/readyz", directory, environment)

    def publish(self, connection, bundle):
        headers = {"Content-Type": "application/zip"}
        connection.call("POST", "/api/v1/packages", bundle.buffers, headers, expect=(200, 201))

    def storage(self, *arguments):
        """The arguments of `dcos-registry storage ...` on this configuration."""
        return [self.binary, "storage", *arguments, "--config", str(self.config)]

    def files_of_size(self, size):
        return sorted(path for path in self.root.rglob("*") if path.is_file() and path.stat().st_size == size)
