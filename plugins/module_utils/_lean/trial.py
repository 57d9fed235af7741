# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tries what is used of Python below its documented modules. PRIVATE to the collection.

That nobody promises to keep. A Python that has changed it is found out when a runtime is installed for it, and not by a
daemon that runs.
"""

from __future__ import annotations

import os

from .._varlink import sockets
from . import json, libc, records, signal, tls

#: Bytes that are enough for the name of any host: Linux has 64.
_ROOM = 256


def problems() -> list[str]:
    """Say what does not do here what it is there for. Changes nothing."""
    found = []
    for name, attempt in (
        ("json", _json),
        ("records", _records),
        ("signal", _signal),
        ("libc", _libc),
        ("sockets", _sockets),
        ("tls", _tls),
    ):
        try:
            if not attempt():
                found.append(f"{name}: does not do what it should with this Python")
        except Exception as error:
            found.append(f"{name}: does not work with this Python: {type(error).__name__}: {error}")
    return found


def _json() -> bool:
    value = {"a": [1, 2.5, None, True, "ö\n"], "b": {}}
    if json.loads(json.dumps(value)) != value or json.reader(words=False)(" [1] ") != [1]:
        return False
    return json.writer((",", ":"), sort_keys=True, checked=True)({"b": 1, "a": []}) == '{"a":[],"b":1}'


def _records() -> bool:
    one = records.namedtuple("One", "left right", (2,))(1)
    return (one._replace(left=3).left, one.right) == (3, 2)  # type: ignore[attr-defined]


def _signal() -> bool:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return signal.number_of("TERM") == signal.SIGTERM


def _libc() -> bool:
    library = libc.Library()
    room = libc.room(_ROOM)
    libc.check(library.function("gethostname")(room, _ROOM), "gethostname")
    return library.function("getppid")() == os.getppid() and library.find("no_such_function") is None


def _sockets() -> bool:
    one, other = sockets.pair()
    try:
        sockets.send(one, b"x", [one.fileno()])
        data, descriptors, more = sockets.receive(other, 16, 1)
        for descriptor in descriptors:
            os.close(descriptor)
        return (data, len(descriptors), more) == (b"x", 1, False)
    finally:
        one.close()
        other.close()


def _tls() -> bool:
    one = tls.Context("", "h2").socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
    one.settimeout(0)
    try:
        one.begin("localhost")
    except OSError:
        return True  # Nobody is there to shake hands with.
    finally:
        one.close()
    return False
