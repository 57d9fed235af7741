# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a backend cannot do is refused by name, before anything is changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conformance_classes import CLASSES
from conforming import Supervised
from converging import SLEEP

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.backends import BACKENDS

#: A definition that asks for the feature, besides a command. Those that every backend has to have are not here.
ASKING: dict[str, dict[str, Any]] = {
    "readiness.notification_fd": {"readiness": {"notification_fd": 3}},
    "readiness.check": {"readiness": {"check": ["/bin/true"]}},
    "health": {"health": {"check": ["/bin/true"]}},
    "lease": {"lease": {"safety": "standard"}},
    "needs": {"needs": ["other"]},
    "needs.active": {"needs": {"other": "active"}},
    "periodic": {"type": "periodic", "interval": "1h"},
    "forking": {"type": "forking", "pid_file": "/run/asks.pid"},
    "oneshot": {"type": "oneshot"},
    "getty": {"type": "getty", "tty": "/dev/null"},
    "once": {"state": "once"},
    "restart": {"restart": "on_failure"},
    "failure_limit": {"failure_limit": {"deaths": 3}},
    "backoff": {"backoff": {"initial": "2s", "maximum": "4s"}},
    "finish": {"finish": ["/bin/true"]},
    "stop_signal": {"stop_signal": "INT"},
    "reload": {"on_change": "reload"},
    "kill.group": {"kill": "group"},
    "kill.tree": {"kill": "tree"},
    "resources": {"resources": {"pids_max": 10}},
    "security_context": {"security_context": {"apparmor": "unconfined"}},
    "log.directory": {"log": {"to": "directory"}},
    "log.syslog": {"log": "syslog"},
    "log.journald": {"log": "journald"},
    "log.age": {"log": {"age": "1d"}},
    "log.keep": {"log": {"keep": "90d"}},
    "log.iso": {"log": {"format": "iso"}},
    "log.tai64n": {"log": {"format": "tai64n"}},
    "log.none": {"log": {"format": "none"}},
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every backend with every feature that it lacks."""
    pairs = [(kind, feature) for kind in CLASSES for feature in ASKING if feature not in kind.type().capabilities]
    metafunc.parametrize(("kind", "feature"), pairs, ids=[f"{kind.title}-{feature}" for kind, feature in pairs])


def test_it_is_refused(
    standing: Callable[[type[Supervised]], Supervised], kind: type[Supervised], feature: str
) -> None:
    host = standing(kind)
    definitions = {
        "other": {"command": SLEEP, "log": False, "kill": "process"},
        "asks": {"command": SLEEP, "log": False},
    }
    definitions["asks"].update(ASKING[feature])
    result = host.task(definitions)
    assert result["failed"] and not result["changed"]
    (problem,) = [text for text in result["problems"] if text.startswith(f"asks: {feature} (")]
    assert f"is not supported by the backend {host.backend}" in problem
    others = [name for name, backend in BACKENDS.items() if feature in backend.capabilities and name != host.backend]
    assert all(name in problem for name in others)
    assert host.snapshot().services == {}
    assert not [path for path in host.scan.iterdir() if not path.name.startswith(".")]
