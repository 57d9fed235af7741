# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exit with 0 when somebody listens on this port of this host."""

from __future__ import annotations

import socket
import sys

if __name__ == "__main__":
    with socket.socket() as connection:
        connection.settimeout(2)
        sys.exit(connection.connect_ex(("127.0.0.1", int(sys.argv[1]))) != 0)
