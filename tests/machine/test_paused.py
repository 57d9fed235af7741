# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that its hypervisor stops for longer than a lease is good, and lets go on: what no guard in it can prevent, and how it ends.

Nothing in the machine is awake meanwhile, its clocks included, so that somebody else has the lease by then. And a machine whose wall clock is
stepped, which is nobody's matter but its own there. `paused_inside.py` and `stepped_inside.py` run there.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from emulating import PROGRAMS, add_modules
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


class Outside:
    """A machine with a guard `a` on this host's etcd. beats: what its service says."""

    def __init__(self, guards: Guards, folder: Path) -> None:
        self.folder = folder
        self._beats = guards.base / "beats"
        self._control = guards.base / "control"
        add_modules(folder, "virtio_pci", "virtio_net")
        shutil.copy(PROGRAMS / "outside.py", folder)
        words = [word.replace("127.0.0.1", "10.0.2.2") for word in guards.driver]
        words += ["--name=a", "--resource=r", "--safety=standard", "--state=/run/guards"]
        (folder / "guard").write_text("\n".join(words))

    def boot(self) -> emulated.Outcome:
        """Boot it, and return when it has switched itself off."""
        more = ["-netdev", "user,id=outside", "-device", "virtio-net-pci,netdev=outside"]
        more += ["-qmp", f"unix:{self._control},server=on,wait=off"]
        return emulated.boot(self.folder, timeout=400, more=more, ports=[self._beats])

    def beats(self) -> list[tuple[str, int]]:
        """Give token and time of all beats; what was cut off by an end is none."""
        text = self._beats.read_text(errors="replace") if self._beats.exists() else ""
        words = (line.split() for line in text.split("\n")[:-1])
        return [(one[0], int(one[1])) for one in words if len(one) == 2]

    def control(self) -> Control:
        return Control(self._control)


def test_a_machine_that_goes_on_after_its_lease_has_ended_learns_it_and_has_a_stale_token(
    guards: Guards, cluster: Cluster, payload: Callable[[str], Path]
) -> None:
    guards.use_etcd(cluster.endpoints, TTL)
    outside = Outside(guards, payload("paused_inside.py"))
    with ThreadPoolExecutor() as pool:
        booted = pool.submit(outside.boot)
        wait_until(lambda: booted.done() or len(outside.beats()) > 20, 200)
        assert not booted.done(), booted.result()
        machine = outside.control()
        guards.start("b")
        guards.until("b", "standby")
        machine.do("stop")
        stopped = len(outside.beats())
        guards.until("b", "active")
        assert len(outside.beats()) == stopped
        machine.do("cont")
        machine.close()
        outcome = booted.result()
    after = outside.beats()[stopped:]
    assert {token for token, _when in after} <= {"1"}
    assert guards.token("b") > 1
    assert "ended with" in outcome.said, outcome.said + outcome.console
    span = (after[-1][1] - after[0][1]) / 1e6 if after else 0
    sys.stderr.write(f"{len(after)} beats in {span:.0f} ms after the machine went on\n")


def test_a_step_of_the_wall_clock_moves_no_end_of_a_lease(
    guards: Guards, cluster: Cluster, payload: Callable[[str], Path]
) -> None:
    """By a day, two days back, thirty years; then twenty years back, under a guard that is stopped and has to die in time."""
    guards.use_etcd(cluster.endpoints, TTL)
    outside = Outside(guards, payload("stepped_inside.py"))
    with ThreadPoolExecutor() as pool:
        booted = pool.submit(outside.boot)
        wait_until(lambda: booted.done() or len(outside.beats()) > 20, 200)
        guards.start("b")
        guards.until("b", "active")
        told = len(outside.beats())
        said = booted.result().said
    assert len(outside.beats()) == told
    before, *steps, stopped = (json.loads(line) for line in said.splitlines() if line.startswith("{"))
    assert len(steps) == 3, said
    for one in steps:
        assert (one["phase"], one["resources"]) == ("active", before["resources"])
        assert 0 < one["valid_for"] <= TTL
    assert stopped["code"] == -signal.SIGKILL
    assert guards.token("b") == 2
