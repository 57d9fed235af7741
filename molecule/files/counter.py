# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log the numbers 1, 2, 3 … under a word that tells this run from others; say on descriptor 5 that we are ready."""

from __future__ import annotations

import contextlib
import os
import time
import uuid


def main() -> None:
    """Count until a signal comes."""
    run = uuid.uuid4().hex
    number = 0
    while True:
        number += 1
        os.write(1, f"{run} {number}\n".encode())
        if number == 1:
            with contextlib.suppress(OSError):
                os.write(5, b"\n")
                os.close(5)
        time.sleep(0.002)


if __name__ == "__main__":
    main()
