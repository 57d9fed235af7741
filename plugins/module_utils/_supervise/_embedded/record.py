# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a supervisor must find again after its own death: one small record a service. PRIVATE to the collection.

The record is written before every fork and after it. It is overwritten in place by one write(2) of less than a page,
which a killed process has either made or not; after a power cut it is void anyway, since the boot id differs.
"""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MAGIC: Final = b"HFREC002"
_FORM: Final = struct.Struct("<8s16sQBBBBiQqqIIii32s96s")

#: Phases: nothing runs; the fork may or may not have happened; `run` runs; `finish` runs.
IDLE, STARTING, RUNNING, FINISHING = range(4)

PAUSED, READY, STOPPING, FAILED, REMOVING = 1, 2, 4, 8, 16


class Record:
    """The state of one service that outlives its supervisor.

    boot, namespace: the world in which pid means something. phase: one of the constants above. want: `u`, `d` or NUL.
    flags: PAUSED | READY | STOPPING | FAILED | REMOVING. pid, started: the process (of `run` or `finish`) and its start
    time in ticks. since: unix ns of the last pid change. up: monotonic ns of the last start of `run`. deaths, step: tally and
    back-off step. code, kind: the last exit (kind 0 none, 1 exit, 2 signal, 3 unknown). token: the mark in the
    environment of the process. identity: the definition that the process was started with.
    """

    __slots__ = (
        "boot",
        "code",
        "deaths",
        "flags",
        "identity",
        "kind",
        "namespace",
        "phase",
        "pid",
        "since",
        "started",
        "step",
        "token",
        "up",
        "want",
    )

    def __init__(self) -> None:
        self.boot = b""
        self.namespace = 0
        self.phase = IDLE
        self.want = "d"
        self.flags = 0
        self.pid = 0
        self.started = 0
        self.since = 0
        self.up = 0
        self.deaths = 0
        self.step = 0
        self.code = 0
        self.kind = 0
        self.token = ""
        self.identity = ""

    def encode(self) -> bytes:
        """Give the bytes of the file."""
        return _FORM.pack(
            MAGIC,
            self.boot,
            self.namespace,
            self.phase,
            ord(self.want),
            self.flags,
            0,
            self.pid,
            self.started,
            self.since,
            self.up,
            self.deaths,
            self.step,
            self.code,
            self.kind,
            self.token.encode(),
            self.identity.encode()[:96],
        )


def decode(data: bytes) -> Record | None:
    """Read a record; None for anything else than a whole one of this version."""
    if len(data) != _FORM.size or not data.startswith(MAGIC):
        return None
    fields = _FORM.unpack(data)
    record = Record()
    record.boot, record.namespace, record.phase = fields[1:4]
    record.want = chr(fields[4])
    record.flags = fields[5]
    record.pid, record.started, record.since, record.up, record.deaths, record.step = fields[7:13]
    record.code, record.kind = fields[13:15]
    record.token = fields[15].rstrip(b"\0").decode("ascii", "replace")
    record.identity = fields[16].rstrip(b"\0").decode("utf-8", "replace")
    return record


def read(path: str) -> Record | None:
    """Read the record at *path*; None if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return decode(os.read(descriptor, 4096))
    except OSError:
        return None
    finally:
        os.close(descriptor)


def write(path: str, record: Record) -> None:
    """Write *record* to *path* in one step. Raises OSError, after which the file has its former content."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, record.encode())
    finally:
        os.close(descriptor)
