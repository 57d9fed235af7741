# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The definition of a service as the collection writes it beside the run script, for those who write one themselves."""

from __future__ import annotations

from typing import Any


def described(name: str, **settings: Any) -> dict[str, Any]:
    """The content of holdfast.json, with every key; dictionaries in *settings* are merged into what is usual, the rest replaces it."""
    content: dict[str, Any] = {
        "format": 1,
        "name": name,
        "definition": "0" * 64,
        "revision": 1,
        "owner": "services",
        "files": {},
        "process": {
            "user": None,
            "group": None,
            "groups": None,
            "umask": None,
            "nice": None,
            "limits": {},
            "oom_score_adjust": None,
            "resources": {},
            "security_context": None,
            "runtime_directories": [],
        },
        "state": "started",
        "type": "longrun",
        "interval": None,
        "restart": "always",
        "backoff": {"initial": 1.0, "maximum": 30.0},
        "failure_limit": {"deaths": 0, "within": 60.0},
        "stop_signal": "TERM",
        "stop_timeout": 10.0,
        "finish_timeout": 5.0,
        "kill": "group",
        "reload_signal": "HUP",
        "on_change": "restart",
        "readiness": {"notification_fd": None, "check": False, "interval": 0.5, "grace": 0.5, "timeout": 30.0},
        "health": None,
        "needs": [],
        "log": {"to": "none"},
    }
    for key, value in settings.items():
        if isinstance(value, dict) and isinstance(content.get(key), dict):
            content[key] = {**content[key], **value}
        else:
            content[key] = value
    return content
