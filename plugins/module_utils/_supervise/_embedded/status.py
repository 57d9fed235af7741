# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The binary `status` file of the daemontools family. PRIVATE to the collection.

The first 18 bytes are the same in daemontools, daemontools-encore and runit; bytes 18 and 19 are where the last two
differ, so that a scan directory has one layout: RUNIT (which `svstat`, `svok` and `sv` all read) or ENCORE.
"""

from __future__ import annotations

import struct

RUNIT = "runit"
ENCORE = "encore"
LAYOUTS = (RUNIT, ENCORE)

#: What the family adds to unix time: 2^62 for the TAI64 label and a fixed 10 seconds; leap seconds are not counted.
TAI_OFFSET = 2**62 + 10

WANT_UP = "u"
WANT_DOWN = "d"
WANT_ONCE = "\0"

DOWN, STARTING, RUNNING, FINISHING, STOPPING, FAILED = range(6)
_RUNIT_STATE = {DOWN: 0, STARTING: 1, RUNNING: 1, FINISHING: 2, STOPPING: 1, FAILED: 0}
_ENCORE_STATE = {DOWN: 0, STARTING: 1, RUNNING: 3, FINISHING: 4, STOPPING: 4, FAILED: 5}


def tai64n(nanoseconds: int) -> bytes:
    """Give the 12-byte TAI64N label of a unix time in nanoseconds."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return struct.pack(">QI", seconds + TAI_OFFSET, rest)


def encode(since: int, pid: int, want: str, state: int, paused: bool, terminated: bool, layout: str) -> bytes:
    """Give the 20 bytes for a service whose pid changed last at *since* (unix nanoseconds); *pid* 0 means none."""
    if layout == ENCORE:
        tail = bytes((_ENCORE_STATE[state], 0))
    else:
        tail = bytes((1 if terminated else 0, _RUNIT_STATE[state]))
    return tai64n(since) + struct.pack("<I", pid) + bytes((1 if paused and pid else 0, ord(want))) + tail
