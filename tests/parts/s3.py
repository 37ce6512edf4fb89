#!/usr/bin/env python3
"""A small S3 client of the standard library, for preparing and looking at the servers of servers.sh.

    s3.py create-bucket SERVER-JSON        makes the bucket; it may exist
    s3.py check SERVER-JSON [ROUNDS]       what the server does with conditions, one line per question, then JSON

SERVER-JSON is the line that `servers.sh start` prints. `check` judges nothing: it tells what it saw.
"""

import collections
import datetime
import hashlib
import hmac
import http.client
import json
import sys
import threading
import time
import urllib.parse

TIMEOUT = 10


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Client:
    """One connection to one bucket; signs by AWS Signature Version 4."""

    def __init__(self, server, secret=None):
        self.server = server
        self.secret = secret or server["secretKey"]
        self.host = urllib.parse.urlsplit(server["endpoint"]).netloc
        self.connection = http.client.HTTPConnection(self.host, timeout=TIMEOUT)

    def authorization(self, method, path, query, headers):
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        request = "\n".join([method, path, query, lines, names, headers["x-amz-content-sha256"]])
        stamp = headers["x-amz-date"]
        scope = f"{stamp[:8]}/{self.server['region']}/s3/aws4_request"
        digest = hashlib.sha256(request.encode()).hexdigest()
        key = sign(b"AWS4" + self.secret.encode(), stamp[:8])
        for part in (self.server["region"], "s3", "aws4_request"):
            key = sign(key, part)
        signature = sign(key, f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}").hex()
        credential = f"{self.server['accessKey']}/{scope}"
        return f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"

    def call(self, method, key="", body=b"", query=None, conditions=None):
        """Returns status, headers and body. A closed connection is opened again once."""
        path = urllib.parse.quote(f"/{self.server['bucket']}" + (f"/{key}" if key else ""))
        pairs = sorted((query or {}).items())
        text = "&".join(f"{urllib.parse.quote(k, safe='')}={urllib.parse.quote(v, safe='')}" for k, v in pairs)
        now = datetime.datetime.now(datetime.timezone.utc)
        headers = {
            "host": self.host,
            "x-amz-content-sha256": hashlib.sha256(body).hexdigest(),
            "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
        }
        headers["authorization"] = self.authorization(method, path, text, headers)
        headers.update(conditions or {})
        target = path + (f"?{text}" if text else "")
        for last in (False, True):
            try:
                self.connection.request(method, target, body, headers)
                answer = self.connection.getresponse()
                return answer.status, answer.headers, answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.connection.close()
                if last or isinstance(error, TimeoutError):
                    raise

    def put(self, key, body, **conditions):
        names = {"none_match": "If-None-Match", "match": "If-Match"}
        return self.call("PUT", key, body, conditions={names[k]: v for k, v in conditions.items()})


def create_bucket(server):
    """Waits for the server to become usable: some answer with errors while they start."""
    deadline = time.monotonic() + 60
    while True:
        try:
            status, _, body = Client(server).call("PUT")
            if status == 200 or (status == 409 and b"BucketAlreadyOwnedByYou" in body):
                return
            problem = f"{status} {body[:300]!r}"
        except OSError as error:
            problem = repr(error)
        if time.monotonic() > deadline:
            sys.exit(f"s3.py: the bucket {server['bucket']} was not made at {server['endpoint']}: {problem}")
        time.sleep(0.3)


def create_twice(client):
    return [client.put("check/create", body, none_match="*")[0] for body in (b"1", b"2")]


def update_good_and_stale(client, quotes):
    tag = client.put("check/update", b"1")[1]["ETag"]
    tag = tag if quotes else tag.strip('"')
    return [client.put("check/update", body, match=tag)[0] for body in (b"2", b"3")]


def update_of_nothing(client):
    return [client.put("check/nothing", b"1", match=f'"{hashlib.md5(b"").hexdigest()}"')[0]]


def complete_over_existing(client):
    """Complete of a multipart upload with If-None-Match: * on a key that exists."""
    client.put("check/parts", b"1")
    begun = client.call("POST", "check/parts", query={"uploads": ""})[2].decode()
    upload = begun.split("<UploadId>")[1].split("</UploadId>")[0]
    query = {"partNumber": "1", "uploadId": upload}
    tag = client.call("PUT", "check/parts", b"x" * 10, query)[1]["ETag"]
    part = f"<Part><PartNumber>1</PartNumber><ETag>{tag}</ETag></Part>"
    body = f"<CompleteMultipartUpload>{part}</CompleteMultipartUpload>".encode()
    conditions = {"If-None-Match": "*"}
    return [client.call("POST", "check/parts", body, {"uploadId": upload}, conditions)[0]]


def race(server, rounds, writers):
    """How many rounds ended with how many winners, writers creating one key at once."""
    barrier = threading.Barrier(writers)
    hung = threading.Event()
    statuses = [[None] * writers for _ in range(rounds)]
    stamp = time.time_ns()

    def write(number):
        client = Client(server)
        body = bytes([65 + number]) * 65536
        for turn in range(rounds):
            # All wait for the slowest, so that all start together and a server that hangs is seen by all.
            barrier.wait(4 * TIMEOUT)
            if hung.is_set():
                return
            try:
                statuses[turn][number] = client.put(f"check/race/{stamp}/{turn}", body, none_match="*")[0]
            except (OSError, http.client.HTTPException) as error:
                statuses[turn][number] = type(error).__name__
                hung.set()
            barrier.wait(4 * TIMEOUT)

    threads = [threading.Thread(target=write, args=(number,), daemon=True) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    played = [turn for turn in statuses if None not in turn]
    winners = collections.Counter(sum(status == 200 for status in turn) for turn in played)
    losers = {str(status) for turn in played for status in turn if status != 200}
    return {"rounds": len(played), "winners": dict(sorted(winners.items())), "losers": sorted(losers)}


def wrong_secret(server):
    return [Client(server, "not-the-secret").call("GET", query={"list-type": "2"})[0]]


def check(server, rounds):
    client = Client(server)
    for key in ("create", "update", "nothing", "parts"):
        client.call("DELETE", f"check/{key}")
    questions = {
        "create twice": lambda: create_twice(client),
        "update good, stale (quoted)": lambda: update_good_and_stale(client, True),
        "update good, stale (bare)": lambda: update_good_and_stale(client, False),
        "update of nothing": lambda: update_of_nothing(client),
        "complete over existing": lambda: complete_over_existing(client),
        "race of 2": lambda: race(server, rounds, 2),
        "race of 8": lambda: race(server, max(rounds // 4, 1), 8),
        "wrong secret": lambda: wrong_secret(server),
    }
    seen = {}
    for name, ask in questions.items():
        start = time.monotonic()
        try:
            seen[name] = ask()
        except (OSError, http.client.HTTPException, IndexError) as error:
            seen[name] = f"failed: {error!r}"
        print(f"{name:30} {seen[name]}  ({time.monotonic() - start:.2f} s)")
    print(json.dumps(seen))


def main(arguments):
    if len(arguments) < 2 or arguments[0] not in ("create-bucket", "check"):
        sys.exit(__doc__)
    server = json.loads(arguments[1])
    if arguments[0] == "create-bucket":
        create_bucket(server)
    else:
        check(server, int(arguments[2]) if len(arguments) > 2 else 200)


if __name__ == "__main__":
    main(sys.argv[1:])
