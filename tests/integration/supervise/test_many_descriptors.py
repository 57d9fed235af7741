# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A supervisor that has more descriptors open than its services may have."""

from __future__ import annotations

import os
import resource
from typing import Any

import procs
import pytest
from supervised import Scan
from waiting import wait_until

MANY = 30
BELOW = 24


@pytest.mark.parametrize(
    "process",
    [
        {},
        {"umask": 0o022},
        {"limits": {"nofile": [BELOW - 4, BELOW]}},
        pytest.param(
            {
                "user": "nobody",
                "group": "daemon",
                "groups": ["daemon", "tty"],
                "limits": {"nofile": [BELOW - 4, BELOW]},
            },
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
        ),
        pytest.param({"user": "nobody"}, marks=pytest.mark.skipif(os.geteuid() != 0, reason="needs root")),
    ],
    ids=["plain", "forked", "limit", "all", "user"],
)
def test_services_start(scan: Scan, process: dict[str, Any]) -> None:
    defaults = scan.definition("a")["process"]
    names = [f"s{number}" for number in range(MANY)]
    for name in names:
        scan.add(name, process={**defaults, **process})
    scan.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (BELOW, 4096)))
    for name in names:
        scan.until(name, "ready", deaths=0)
    assert scan.process is not None
    assert len(procs.descriptors(scan.process.pid)) > 2 * BELOW
    wanted = process.get("limits", {}).get("nofile", [BELOW, 4096])
    last = scan.service(names[-1])["pid"]
    wait_until(lambda: procs.arguments(last)[:1] == ["sleep"])
    assert procs.limits(last)["Max open files"] == (str(wanted[0]), str(wanted[1]))
