"""What is sent: blobs that are cheap to make and never the same twice, and `.dcos` bundles around them.

A body is a list of buffers that share one block of random bytes, so that eight uploads of 500 MB take no memory here
and the client costs the same whatever it sends to.
"""

import base64
import hashlib
import json
import os
import struct
import zlib

BLOCK = memoryview(os.urandom(4 * 1024 * 1024))


class Blob:
    """`size` bytes: 32 that are unique to `label` and this run, then the block over and over."""

    def __init__(self, label, size):
        self.size = size
        head = hashlib.sha256(bytes(BLOCK[:32]) + label.encode()).digest()[:size]
        whole, rest = divmod(size - len(head), len(BLOCK))
        self.buffers = [head] + [BLOCK] * whole + ([BLOCK[:rest]] if rest else [])
        sha256, self.crc = hashlib.sha256(), 0
        for buffer in self.buffers:
            sha256.update(buffer)
            self.crc = zlib.crc32(buffer, self.crc)
        self.hex = sha256.hexdigest()
        self.digest = f"sha256:{self.hex}"

    @staticmethod
    def of(data):
        """A blob of given bytes."""
        blob = Blob.__new__(Blob)
        blob.size, blob.buffers, blob.crc = len(data), [data], zlib.crc32(data)
        blob.hex = hashlib.sha256(data).hexdigest()
        blob.digest = f"sha256:{blob.hex}"
        return blob

    def write(self, path):
        with open(path, "wb") as file:
            for buffer in self.buffers:
                file.write(buffer)


def stored_zip(entries):
    """The buffers of a zip with stored entries, (name, blob) in the order given; sizes below 4 GiB each and in all."""
    buffers, directory, offset = [], b"", 0
    for name, blob in entries:
        name = name.encode()
        # Version 2.0, stored, 1 January 1980.
        common = struct.pack("<5H3L2H", 20, 0, 0, 0, 0x21, blob.crc, blob.size, blob.size, len(name), 0)
        local = b"PK\x03\x04" + common + name
        directory += b"PK\x01\x02" + struct.pack("<H", 20) + common
        directory += struct.pack("<3H2L", 0, 0, 0, 0o644 << 16, offset) + name
        buffers += [local, *blob.buffers]
        offset += len(local) + blob.size
    count = len(entries)
    end = b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, count, count, len(directory), offset, 0)
    return buffers + [directory + end]


def metadata(name, version, assets):
    template = '{"id": "/{{service.name}}", "cmd": "sleep 1000"}'
    uris = {alias: f"{blob.digest}/{alias}" for alias, blob in assets.items()}
    return {
        "packagingVersion": "4.0",
        "name": name,
        "version": version,
        "maintainer": "bench@example.com",
        "description": "Made by the benchmarks.",
        "tags": ["bench"],
        "marathon": {"v2AppMustacheTemplate": base64.b64encode(template.encode()).decode()},
        "resource": {"assets": {"uris": uris}},
    }


def as_json(value):
    return Blob.of(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


class Bundle:
    """A whole package version as one `.dcos` file; `assets` maps the file name (and alias) to its blob."""

    def __init__(self, name, version, assets):
        self.name, self.version, self.assets = name, version, assets
        members = [
            {
                "role": f"asset/{alias}",
                "name": alias,
                "digest": blob.digest,
                "size": blob.size,
                "mediaType": "application/octet-stream",
            }
            for alias, blob in sorted(assets.items())
        ]
        blobs = sorted((f"blobs/sha256/{blob.hex}", blob) for blob in assets.values())
        self.buffers = stored_zip(
            [
                ("metadata.json", as_json(metadata(name, version, assets))),
                ("manifest.json", as_json({"formatVersion": 1, "members": members})),
                *blobs,
                ("index.json", as_json({"schemaVersion": 2, "manifests": []})),
                ("oci-layout", as_json({"imageLayoutVersion": "1.0.0"})),
            ]
        )
        self.size = sum(len(buffer) for buffer in self.buffers)

    @property
    def coordinate(self):
        """The URL segment: lower-case base32 without padding of the compact JSON of name and version."""
        text = json.dumps({"name": self.name, "version": self.version}, separators=(",", ":"))
        return base64.b32encode(text.encode()).decode().rstrip("=").lower()

    def path(self, alias):
        """Where the registry serves one of the assets."""
        return f"/resource/{self.coordinate}/{self.assets[alias].digest}/{alias}"
