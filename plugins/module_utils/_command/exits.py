# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exit codes of the command, and the error that carries one. PRIVATE to the collection."""

from __future__ import annotations

#: What was asked for is so.
OK = 0
#: It was tried and is not so: a service failed, did not get there in time, or is not ready.
FAILED = 1
#: The command line is wrong; nothing was done.
USAGE = 2
#: No supervisor answers for the scan directory.
NO_SUPERVISOR = 3
#: There is no service of that name; nothing was done to the others either.
NO_SERVICE = 4
#: Ended by the person at the keyboard.
INTERRUPTED = 130


class CommandError(Exception):
    """Ends the command with *code* and one message for the person who gave it; an empty message says nothing more."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
