# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that its hypervisor stops for longer than a lease is good, and lets go on: what no guard in it can prevent, and how it ends.

Nothing in the machine is awake meanwhile, its clocks included, so that somebody else has the lease by then. `paused_inside.py` runs there.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from emulating import add_modules
from etcds import ETCD, Cluster
from guarded import Guards, make_runtime
from testhosts import emulated
from waiting import wait_until

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="the root tree of the machine is built as root"),
    pytest.mark.skipif(not ETCD, reason="there is no etcd"),
]

#: Seconds for which a lease is good: an emulated machine is slow.
TTL = 6


class Control:
    """QEMU's own way to be steered."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rw")
        self._file.readline()
        self.do("qmp_capabilities")

    def do(self, what: str) -> None:
        self._file.write(json.dumps({"execute": what}) + "\n")
        self._file.flush()
        while True:
            told: dict[str, Any] = json.loads(self._file.readline())
            assert "error" not in told, told
            if "return" in told:
                return

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture
def guards() -> Iterator[Guards]:
    with tempfile.TemporaryDirectory(prefix="hf-lease-") as folder:
        made = Guards(make_runtime(Path(folder)), Path(folder))
        yield made
        made.close()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster().start()
    yield made
    made.close()


def test_a_machine_that_goes_on_after_its_lease_has_ended_learns_it_and_has_a_stale_token(
    guards: Guards, cluster: Cluster, payload: Callable[[str], Path]
) -> None:
    guards.use_etcd(cluster.endpoints, TTL)
    folder = payload("paused_inside.py")
    add_modules(folder, "virtio_pci", "virtio_net")
    words = [word.replace("127.0.0.1", "10.0.2.2") for word in guards.driver]
    (folder / "guard").write_text("\n".join(["--name=a", "--resource=r", "--safety=standard", *words]))
    beats, control = guards.base / "beats", guards.base / "control"
    more = ["-netdev", "user,id=outside,restrict=off", "-device", "virtio-net-pci,netdev=outside"]
    more += ["-qmp", f"unix:{control},server=on,wait=off"]

    def lines() -> list[list[str]]:
        text = beats.read_text(errors="replace") if beats.exists() else ""
        return [line.split() for line in text.split("\n")[:-1] if len(line.split()) == 2]

    with ThreadPoolExecutor() as pool:
        # The third port of the machine comes behind the two that it always has.
        booted = pool.submit(emulated.boot, folder, timeout=400, more=more, ports=[beats])
        wait_until(lambda: booted.done() or len(lines()) > 20, 200)
        assert not booted.done(), booted.result()
        machine = Control(control)
        guards.start("b")
        guards.until("b", "standby")
        machine.do("stop")
        stopped = len(lines())
        guards.until("b", "active")
        assert len(lines()) == stopped
        machine.do("cont")
        machine.close()
        outcome = booted.result()
    after = lines()[stopped:]
    assert {token for token, _when in after} <= {"1"}
    assert guards.token("b") > 1
    assert "ended with" in outcome.said, outcome.said + outcome.console
    span = (int(after[-1][1]) - int(after[0][1])) / 1e6 if after else 0
    sys.stderr.write(f"{len(after)} beats in {span:.0f} ms after the machine went on\n{outcome.said}")
