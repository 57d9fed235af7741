# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The privileged helper below systemd: it knows services by the control groups of their units."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conforming import sh
from conforming_systemd import SystemdHost
from converging import PYTHON
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._helper.services import has_pidfds

pytestmark = pytest.mark.skipif(not has_pidfds(), reason="this kernel does not tell who made a connection")


def asking(call: str, answer: Path) -> dict[str, Any]:
    """A service of an ordinary user that asks once, by a grandchild whose parent is gone, and goes on living."""
    ask = f"{call} >{answer}.new 2>&1; echo $? >>{answer}.new; mv {answer}.new {answer}"
    return {"command": sh(f"(({ask}) &); exec sleep 100000"), "user": "ordinary"}


def test_a_service_is_told_by_its_unit(systemd: SystemdHost) -> None:
    base = systemd.base
    socket, answers = base / "helper" / "socket", base / "answers"
    answers.mkdir()
    answers.chmod(0o777)
    hello = {"argv": ["/bin/echo", "hello"], "idempotency": "pure"}
    document = {
        "format": 1,
        "socket": str(socket),
        "state_directory": str(base / "helper"),
        "services": {"manager": "systemd"},
        "operations": {
            "theirs": {**hello, "allow": [{"service": "billing"}]},
            "foreign": {**hello, "allow": [{"service": f"asking-{base.name}.service"}]},
        },
    }
    (base / "helper.json").write_text(json.dumps(document))
    helper = [PYTHON, "-I", "-S", str(systemd.runtime), "helper", "--notify-fd", "3", str(base / "helper.json")]
    systemd.good({"helper": {"command": helper, "kill": "process", "readiness": {"notification_fd": 3}}})
    words = f"{PYTHON} -I -S {systemd.runtime} call --socket {socket}"
    services = {
        "billing": asking(f"{words} theirs", answers / "billing"),
        "billing2": asking(f"{words} theirs", answers / "billing2"),
    }
    systemd.good(services)
    machine = systemd.machine
    # Not of ours: a unit that somebody else has made, and one of the same user outside of any.
    transient = ["systemd-run", f"--unit=asking-{base.name}", "--uid=ordinary", "--wait", "--pipe"]
    foreign = machine.do("sh", "-c", f"{' '.join(transient)} {words} foreign")
    assert "hello" in foreign
    outside = machine.do("sh", "-c", f"setpriv --reuid=ordinary --clear-groups {words} theirs 2>&1 || true")
    assert "not for this user" in outside
    for name, code, text in (("billing", "0", "hello"), ("billing2", "1", "not for this user")):
        wait_until((answers / name).exists)
        *said, ended = (answers / name).read_text().splitlines()
        assert ended == code and text in "".join(said)
