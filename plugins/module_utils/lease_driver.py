# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a lease driver of another collection is made of. PUBLIC: changes of it are told in the changelog.

A driver is a module `plugins/module_utils/NAME.py` of its collection, or a package of that name, that has a class
`LeaseDriver`, made from `Driver`. It is shipped to the hosts with the runtime, and may import there the standard library,
this module, and what lies beside it in module_utils; by `from … import …`. See docs/lease-drivers.md.
"""

from __future__ import annotations

from ._lease.handover import BACK, DROPPED, OUT, PREPARED, RETURNING, UNKNOWN, Handover, Overtaken, UnderWay
from ._lease.interface import (
    CAPABILITIES,
    CORE_API,
    CORE_FEATURES,
    EXCLUSIVE_MODE,
    EXEC,
    HANDOVER,
    HOT,
    KEPT,
    LINE_UP,
    MODES,
    NOTE,
    READONLY,
    REMOTE,
    RENEWS,
    RESOURCE_NAME,
    SHARED,
    TOKEN,
    UNBROKEN,
    Busy,
    Driver,
    DriverNotFound,
    DriverNotLoaded,
    DriverRefused,
    Grant,
    Holder,
    Hole,
    LeaseError,
    Lost,
    NotHeld,
    RunningOut,
    StoreUnavailable,
)
from ._lease.modes import READONLY_MODE, SHARED_MODE, compatible

__all__ = [
    "BACK",
    "CAPABILITIES",
    "CORE_API",
    "CORE_FEATURES",
    "DROPPED",
    "EXCLUSIVE_MODE",
    "EXEC",
    "HANDOVER",
    "HOT",
    "KEPT",
    "LINE_UP",
    "MODES",
    "NOTE",
    "OUT",
    "PREPARED",
    "READONLY",
    "READONLY_MODE",
    "REMOTE",
    "RENEWS",
    "RESOURCE_NAME",
    "RETURNING",
    "SHARED",
    "SHARED_MODE",
    "TOKEN",
    "UNBROKEN",
    "UNKNOWN",
    "Busy",
    "Driver",
    "DriverNotFound",
    "DriverNotLoaded",
    "DriverRefused",
    "Grant",
    "Handover",
    "Holder",
    "Hole",
    "LeaseError",
    "Lost",
    "NotHeld",
    "Overtaken",
    "RunningOut",
    "StoreUnavailable",
    "UnderWay",
    "compatible",
]
