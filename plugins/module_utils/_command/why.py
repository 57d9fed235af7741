# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`holdfast why`: what happened to a service. PRIVATE to the collection."""

from __future__ import annotations

import json
import time

from .exits import OK
from .places import scan_directory
from .status import reason
from .supervisor import Supervisor
from .terminal import duration, ending, harmless, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any


def why(options: Namespace) -> int:
    """Tell the present state of a service and its last events, oldest first."""
    with Supervisor(scan_directory(options.scan)) as supervisor:
        service = supervisor.status([options.name])["services"][0]
        events = supervisor.why(options.name, options.lines)
    if options.json:
        write(json.dumps({"service": service, "events": events}, indent=2, sort_keys=True))
        return OK
    for event in events:
        write(harmless(_line(event)))
    because = reason(service)
    now = f"{options.name}: {service['state']} for {duration(time.time() - service['since'])}"
    write(harmless(now + (f": {because}" if because else "")))
    return OK


def _line(event: dict[str, Any]) -> str:
    at = float(event["at"])
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) + f".{int(at % 1 * 1000):03d}"
    parts = [stamp, f"{event['event']:<10}"]
    message = str(event.get("message") or "")
    if event.get("pid") and f"pid {event['pid']}" not in message:
        parts.append(f"pid {event['pid']}")
    last = ending(event.get("exit"))
    if last and last not in message:
        parts.append(last)
    if message:
        parts.append(message)
    return "  ".join(parts)
