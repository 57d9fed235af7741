# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backend lacks and others have, for the module that is sent without those. PRIVATE to the collection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise import backends
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.interface import needed


def having(backend: str, content: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return, for each feature that the services of a payload ask *backend* for in vain, the backends that have it."""
    asked = {feature for service in content["services"].values() for feature in needed(service["holdfast"])}
    found = backends.having()
    return {feature: found.get(feature, []) for feature in sorted(asked - backends.BACKENDS[backend].capabilities)}
