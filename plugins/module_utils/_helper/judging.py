# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Judging the helper's file by a child. PRIVATE to the collection.

What that needs, regular expressions and all that can be said of an operation, is a tenth of what the helper would have for
life; so it goes with the child.
"""

from __future__ import annotations

import errno
import os

from .._lean import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def problems(document: dict[str, Any]) -> list[str]:
    """Give what `schema.problems` finds. Raises OSError when the child could not say."""
    read, write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            from . import schema

            text = json.dumps(schema.problems(document)).encode()
            while text:
                text = text[os.write(write, text) :]
            os._exit(0)
        finally:
            os._exit(1)
    os.close(write)
    with open(read, encoding="utf-8") as file:
        found = file.read()
    if os.waitpid(pid, 0)[1] != 0:
        raise OSError(errno.EIO, "was not judged to the end: the process for that has died")
    return list(json.loads(found))
