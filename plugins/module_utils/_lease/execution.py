# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services that are executed in the place of their guard (`mode: exec`): which drivers can, and what is lost. PRIVATE to the collection."""

from __future__ import annotations

from . import drivers
from .interface import EXEC, LeaseError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .interface import Driver

#: How a service holds its leases: by a guard beside it, or by itself.
GUARD_MODE, EXEC_MODE = "guard", "exec"

#: What nobody is there for, whatever the driver. Ways in which two may come to run are the driver's `exec_holes`.
LOSSES = {
    "loss": "nobody of ours hears that the lease is lost: no hook, no pause (on_lost)",
    "order": "nothing but the service runs while the lease is held: no hooks, no finish, no stop of the whole tree before it is given back",
    "health": "nobody judges readiness and health, nor hands over for their sake",
    "handover": "it cannot be handed over to a chosen holder, nor kept for a restart (keep)",
    "hot": "what it holds, and its tokens, stay as they were at the start",
    "trust": "it has the lease's descriptor itself, and may give it away, or keep others of the same resource waiting",
    "waiting": "what it leaves behind with the lease's descriptor holds the lease on, and nobody ends that",
}


def undeclared(name: str, parameters: Mapping[str, Any]) -> str:
    """Say why the driver *name*, with these parameters, cannot have a service executed in the place of its guard; "" if it can, or is not there to be asked."""
    try:
        driver = drivers.look_at(name).chosen(parameters)
    except LeaseError:
        return ""
    return refusal(driver)


def refusal(driver: type[Driver]) -> str:
    """Say why *driver* cannot, and who can; "" if it can."""
    if EXEC in driver.capabilities:
        return ""
    able = [one for one in drivers.DRIVERS if EXEC in drivers.look_at(one).capabilities]
    how = " with scope hosts" if driver.name in able else ""
    return f"driver {driver.name}{how} needs a guard beside the service; these do not: {', '.join(able)}"


def told(driver: Driver) -> dict[str, Any] | None:
    """Tell what mode exec opens and loses with a driver that was probed; None if it cannot be had."""
    if refusal(type(driver)):
        return None
    return {
        "holes": [{"name": hole.name, "text": hole.text} for hole in driver.exec_holes()],
        "losses": [{"name": name, "text": text} for name, text in LOSSES.items()],
    }
