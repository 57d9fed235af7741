# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a resource can be held, and how people write that: `NAME[:MODE]`, or `disk:PATH[:MODE]`. PRIVATE to the collection."""

from __future__ import annotations

EXCLUSIVE_MODE = "exclusive"
SHARED_MODE = "shared"
READONLY_MODE = "readonly"
MODES = (EXCLUSIVE_MODE, SHARED_MODE, READONLY_MODE)

#: What stands before the path of a disk. No name has a slash in it, so that none is taken for one.
DISK = "disk:"
#: The beginning of the name of a disk that only this host knows by it, until it is booted again.
HERE = DISK + "here."


def compatible(one: str, other: str) -> bool:
    """Say whether a resource can be held in these two modes at a time.

    Several who write with each other may (shared), and several who only read (readonly). But whoever only reads counts on
    nobody writing meanwhile. So it is with the modes CW and PR of a lock manager for clusters.
    """
    return one == other and one != EXCLUSIVE_MODE


def split(text: str) -> tuple[str, str]:
    """Give name and mode of what people have written; without one it is exclusive."""
    name, _colon, mode = text.rpartition(":")
    return (name, mode) if mode in MODES and name else (text, EXCLUSIVE_MODE)


def joined(name: str, mode: str) -> str:
    """Give the text that `split` takes apart."""
    return name if mode == EXCLUSIVE_MODE and split(name) == (name, mode) else f"{name}:{mode}"


def disk(name: str) -> str:
    """Give the path if *name* is that of a disk, "" otherwise."""
    return name[len(DISK) :] if name.startswith(DISK + "/") else ""
