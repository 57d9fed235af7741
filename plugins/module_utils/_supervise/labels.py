# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the host has the security module of a label. PRIVATE to the collection."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

SYSTEM = "/sys"


def obstacle(context: Mapping[str, Any], system: str = SYSTEM) -> str:
    """Say why a security context (keys selinux, apparmor) cannot be given to a service; nothing if it can."""
    if context.get("selinux") and not os.path.exists(f"{system}/fs/selinux/enforce"):
        return "SELinux is not active on this host"
    if context.get("apparmor"):
        try:
            with open(f"{system}/module/apparmor/parameters/enabled", encoding="ascii") as stream:
                enabled = stream.read().strip() == "Y"
        except OSError:
            enabled = False
        if not enabled:
            return "AppArmor is not active on this host"
    return ""
