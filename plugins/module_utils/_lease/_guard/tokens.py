# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tokens in a file without a name, which a service has as a descriptor. PRIVATE to the collection.

For services that do not see the guard's folder (another root, other mounts) and for programs that they hand a descriptor
to. It always has what the guard's file `token` has; only the guard can write to it.
"""

from __future__ import annotations

import os

from .descriptors import move

#: The descriptors among which the service gets it: one digit, which every shell can redirect from.
_NUMBERS = (9, 8, 7, 6, 5, 4, 3)
#: Ours lies above all of them.
_OURS = 10


class TokenFile:
    """The file. Nothing is opened before it is needed."""

    def __init__(self) -> None:
        self._descriptor = -1
        self._reader = -1

    def write(self, text: bytes) -> None:
        """Exchange the content. Raises LeaseError, OSError."""
        if self._descriptor < 0:
            made = os.memfd_create("holdfast-token", os.MFD_CLOEXEC)
            # Whoever opens it anew, by /dev/fd, may read it and no more.
            os.fchmod(made, 0o444)
            self._descriptor = move(made, _OURS)
        os.pwrite(self._descriptor, text, 0)
        os.ftruncate(self._descriptor, len(text))

    def pass_to(self, passed: dict[int, int]) -> int:
        """Add a descriptor for reading to what a service is given; give the number that it has there. Raises LeaseError, OSError."""
        number = next(number for number in _NUMBERS if number not in passed)
        if self._reader < 0:
            opened = os.open(f"/proc/self/fd/{self._descriptor}", os.O_RDONLY | os.O_CLOEXEC)
            self._reader = move(opened, _OURS)
        passed[number] = self._reader
        return number
