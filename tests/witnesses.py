# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Witnesses: what a store itself says of who is granted a lease, until when, and who has it no more.

None of them asks a guard or a driver. etcd tells by a watch. Of the others the files or blocks are read again and again,
with no code of the product, so that an event is seen a moment after it was so and never before: what is judged by it is
never judged too strictly. A number that the store has counted past was granted, whether or not anybody saw it there.

What is noted is in histories.py. Nothing is needed here but Python's own library: an emulated machine has no more.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import struct
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etcds import Cluster

#: Takes an event and what belongs to it.
Note = Callable[..., None]
#: Seconds between two looks.
LOOK = 0.003


class Witness:
    """Looks in a thread of its own until its end."""

    def __init__(self, note: Note) -> None:
        self.note = note
        self.ended = False
        self._last = 0
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._begin, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Look no more. Raises what has ended it before, once: what it has not seen cannot be judged."""
        self.ended = True
        self._thread.join(10)
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _begin(self) -> None:
        try:
            self.run()
        except Exception as error:
            self._failure = error

    def run(self) -> None:
        while not self.ended:
            with contextlib.suppress(FileNotFoundError):
                self.look()
            time.sleep(LOOK)
        with contextlib.suppress(FileNotFoundError):
            self.look()

    def look(self) -> None:
        """Look once. Raises FileNotFoundError while there is nothing yet."""

    def counted(self, number: int) -> None:
        """The store has drawn all numbers up to this one; those before it may have come and gone unseen."""
        for token in range(self._last + 1, number + 1):
            self.note("granted", token=token)
        self._last = max(self._last, number)


class EtcdWitness(Witness):
    """Hears from etcd. resource: the name of one, or "" for all below the prefix, which are told by their names then."""

    def __init__(self, cluster: Cluster, prefix: str, resource: str, note: Note) -> None:
        self._cluster = cluster
        self._named = not resource
        self._prefix = f"{prefix}/"
        ends = (f"{resource}/", f"{resource}0") if resource else ("", "\xff")
        self._range = [base64.b64encode(f"{prefix}/{end}".encode()).decode() for end in ends]
        self._revision = 1
        self._tokens: dict[str, int] = {}
        super().__init__(note)

    def run(self) -> None:
        at = 0
        while not self.ended:
            member = self._cluster.members[at % len(self._cluster.members)]
            at += 1
            try:
                self._listen(member.url.rpartition("/")[2])
            except (OSError, ValueError, http.client.HTTPException):
                time.sleep(0.05)

    def _listen(self, address: str) -> None:
        connection = http.client.HTTPConnection(address, timeout=1)
        try:
            request = {"key": self._range[0], "range_end": self._range[1], "start_revision": str(self._revision)}
            connection.request("POST", "/v3/watch", json.dumps({"create_request": request}))
            answer = connection.getresponse()
            while not self.ended:
                line = answer.readline()
                if not line:
                    return
                heard = json.loads(line)["result"].get("events", ())
                # Whoever gives a resource back says so in its epoch, in the same transaction.
                changed = {
                    (event["kv"]["mod_revision"], _key(event).removesuffix("epoch"))
                    for event in heard
                    if _key(event).endswith("/epoch")
                }
                for event in heard:
                    self._revision = int(event["kv"]["mod_revision"]) + 1
                    base, holder, _rest = _key(event).partition("holder/")
                    if holder:
                        self._heard(event, base, (event["kv"]["mod_revision"], base) in changed)
        finally:
            connection.close()

    def _heard(self, event: dict[str, Any], base: str, released: bool) -> None:
        one = event["kv"]
        whose = {"resource": base.removeprefix(self._prefix).rstrip("/")} if self._named else {}
        if event.get("type") == "DELETE":
            self.note("gone", token=self._tokens.pop(one["key"], 0), released=released, **whose)
        elif one["version"] == "1":
            token = json.loads(base64.b64decode(one["value"]))["token"]
            self._tokens[one["key"]] = token
            self.note("granted", token=token, **whose)


def _key(event: dict[str, Any]) -> str:
    return base64.b64decode(event["kv"]["key"]).decode()


class FileWitness(Witness):
    """Reads the directory of the driver `file`: each holder has a file there, with his number in its name, until he is gone."""

    def __init__(self, directory: Path, resource: str, note: Note) -> None:
        self._counter = directory / f"{resource}.token"
        self._directory = directory
        self._prefix = f"{resource}.holder."
        self._there: set[int] = set()
        super().__init__(note)

    def look(self) -> None:
        numbers = (name[len(self._prefix) :] for name in os.listdir(self._directory) if name.startswith(self._prefix))
        there = {int(number) for number in numbers if number.isdigit()}
        # Written before the holder's file, and read after it.
        self.counted(int(self._counter.read_text()))
        for token in self._there - there:
            self.note("gone", token=token, released=True)
        self._there = there


class SanlockWitness(Witness):
    """Reads the storage of sanlock: the leader record of a resource, and the lease of the host that has it.

    stored: the resource's name there. While a host may be alive to the others (8 io_timeouts from its last renewal) the
    grant is good; what the daemon has written is noted in clocks of this kernel, which all hosts share here.
    """

    _RECORD = struct.Struct("<IIIIQQQQQ48s48sQ")
    _SECTOR, _UNIT, _FIRST, _MOST = 512, 1 << 20, 4, 512
    _GOOD = 8

    def __init__(self, path: Path, stored: str, io_timeout: int, note: Note) -> None:
        self._file = os.open(path, os.O_RDONLY)
        self._name = stored.encode()
        self._io_timeout = io_timeout
        self._at = 0
        self._held = 0
        self._until = 0
        super().__init__(note)

    def run(self) -> None:
        try:
            super().run()
        finally:
            os.close(self._file)

    def _read(self, at: int) -> tuple[int, int, int, bytes, int]:
        """Give owner, generation, number, name and time of the record there."""
        words = self._RECORD.unpack(os.pread(self._file, self._RECORD.size, at).ljust(self._RECORD.size, b"\0"))
        return words[6], words[7], words[8], words[10].rstrip(b"\0"), words[11]

    def look(self) -> None:
        if not self._at:
            places = range(self._FIRST * self._UNIT, self._MOST * self._UNIT, self._UNIT)
            size = os.fstat(self._file).st_size
            self._at = next((at for at in places if at < size and self._read(at)[3] == self._name), 0)
            if not self._at:
                time.sleep(LOOK)
                return
        owner, generation, number, _name, since = self._read(self._at)
        if number != self._last:
            self.counted(number)
            self._held = self._until = 0
        if since and not self._held:
            self._held = number
        elif not since and self._held:
            self.note("gone", token=number, released=True)
            self._held = 0
        if self._held:
            self._renewed(owner, generation)

    def _renewed(self, owner: int, generation: int) -> None:
        host, now, _number, _name, stamp = self._read((owner - 1) * self._SECTOR)
        if (host, now) == (owner, generation) and stamp > self._until:
            self._until = stamp
            # In this order, so that a moment between the two makes it later, not earlier.
            behind = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            ahead = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - behind
            until = (stamp + self._GOOD * self._io_timeout) * 10**9 + ahead
            self.note("good", token=self._held, until=until)


class NfsWitness(Witness):
    """Reads a lock file of the driver `file` with scope hosts, at the server: each holder has a block there.

    Whoever has begun a heartbeat before it was seen here may run for T from then: his grant is good until T after we have
    seen it, and less.
    """

    _BLOCK = 4096

    def __init__(self, path: Path, note: Note) -> None:
        self._path = path
        self._blocks: dict[int, bytes] = {}
        self._tokens: dict[int, int] = {}
        super().__init__(note)

    def look(self) -> None:
        # A slow machine: no faster than a heartbeat may be of interest.
        time.sleep(0.02)
        data = self._path.read_bytes()
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        for slot in range(1, len(data) // self._BLOCK):
            block = data[slot * self._BLOCK : (slot + 1) * self._BLOCK]
            if block == self._blocks.get(slot, bytes(self._BLOCK)):
                continue
            record = self._decode(block)
            if record is None and block.strip(b"\0"):
                # It is being written.
                continue
            self._blocks[slot] = block
            before = self._tokens.pop(slot, 0)
            if before and (record is None or record["token"] != before):
                self.note("gone", token=before)
            if record is not None:
                self.counted(record["token"])
                self._tokens[slot] = record["token"]
                self.note("good", token=record["token"], until=now + int(record["ttl"] * 1e9))

    def _decode(self, block: bytes) -> dict[str, Any] | None:
        check, _space, text = block.rstrip(b"\0").partition(b" ")
        try:
            return dict(json.loads(text)) if int(check, 16) == zlib.crc32(text) else None
        except ValueError:
            return None
