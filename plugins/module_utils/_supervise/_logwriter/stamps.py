# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Time stamps of log lines and names of rotated files."""

from __future__ import annotations

from time import gmtime, strftime, time_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    Stamp = Callable[[int], bytes]

# TAI64 labels of daemontools: 2**62 plus the ten leap seconds of 1970, as multilog and svlogd write them.
TAI_EPOCH = 2**62 + 10
LABEL_LENGTH = 25
LONGEST = 40
NANOSECONDS = 1_000_000_000


def now() -> int:
    """Nanoseconds since 1970."""
    return time_ns()


def label(now: int) -> str:
    """The TAI64N label (``@`` and 24 hexadecimal digits) of ``now``, nanoseconds since 1970."""
    return f"@{TAI_EPOCH + now // NANOSECONDS:016x}{now % NANOSECONDS:08x}"


def from_label(text: str) -> int:
    """Nanoseconds since 1970 of a TAI64N label; ValueError if it is none."""
    if len(text) != LABEL_LENGTH or text[0] != "@":
        raise ValueError("not a TAI64N label")
    return (int(text[1:17], 16) - TAI_EPOCH) * NANOSECONDS + int(text[17:], 16)


def from_line(line: bytes) -> int | None:
    """Nanoseconds since 1970 of the stamp at the beginning of a log line (to the second); None if it has none."""
    text = line[:LABEL_LENGTH].decode("ascii", "replace")
    try:
        if text[:1] == "@":
            return from_label(text)
        if text[4:5] + text[7:8] + text[10:11] + text[13:14] + text[16:17] != "--T::":
            return None
        year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
        hour, minute, second = int(text[11:13]), int(text[14:16]), int(text[17:19])
    except ValueError:
        return None
    # Days since 1970 by the civil calendar: calendar.timegm would bring datetime and locale into memory.
    shifted = year - (month <= 2)
    leaps = shifted // 4 - shifted // 100 + shifted // 400
    days = 365 * shifted + leaps + (153 * ((month + 9) % 12) + 2) // 5 + day - 719469
    return (((days * 24 + hour) * 60 + minute) * 60 + second) * NANOSECONDS


def tai64n(now: int) -> bytes:
    """Stamp ``@`` + 24 hexadecimal digits + space, as ``tai64nlocal`` reads it."""
    return b"@%016x%08x " % (TAI_EPOCH + now // NANOSECONDS, now % NANOSECONDS)


def none(now: int) -> bytes:
    """No stamp."""
    del now
    return b""


def iso_stamps() -> Stamp:
    """A maker of stamps like ``2026-11-21T07:39:00.123456Z ``; it formats the date once per second only."""
    cached = -1
    prefix = b""

    def iso(now: int) -> bytes:
        nonlocal cached, prefix
        second, rest = divmod(now, NANOSECONDS)
        if second != cached:
            prefix = strftime("%Y-%m-%dT%H:%M:%S", gmtime(second)).encode("ascii")
            cached = second
        return b"%s.%06dZ " % (prefix, rest // 1000)

    return iso


iso = iso_stamps()
FORMATS: dict[str, Stamp] = {"iso": iso, "tai64n": tai64n, "none": none}
