# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`holdfast check`. PRIVATE to the collection."""

from __future__ import annotations

from .exits import FAILED, OK
from .places import scan_directory
from .status import reason
from .supervisor import Supervisor
from .terminal import harmless, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace


def check(options: Namespace) -> int:
    """Say whether a service is ready; exit code 0 if it is, 1 if it is not."""
    with Supervisor(scan_directory(options.scan)) as supervisor:
        service = supervisor.status([options.name])["services"][0]
    if service["ready"]:
        write(f"{options.name}: ready")
        return OK
    because = reason(service)
    write(harmless(f"{options.name}: not ready: {service['state']}" + (f" ({because})" if because else "")))
    return FAILED
