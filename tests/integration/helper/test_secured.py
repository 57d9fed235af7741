# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secured operations with real leases: done by the holder's host alone, and by a worker that ends with the holder."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import procs
import pytest
from etcds import ETCD, Cluster
from guarded import PYTHON, STUBBORN, Guards, overlaps
from helping import HelperProcess
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._helper.client import HelperError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root")

SAY = ["/bin/sh", "-c", 'echo "$HOLDFAST_RESOURCE $HOLDFAST_TOKEN"']


@pytest.fixture
def guards(runtime: Path) -> Iterator[Guards]:
    base = Path(tempfile.mkdtemp(prefix="hf-secured-"))
    found = Guards(runtime, base)
    yield found
    found.close()
    shutil.rmtree(base)


@pytest.fixture
def secured(helper: HelperProcess, guards: Guards) -> HelperProcess:
    """A helper that knows of the guards."""
    helper.settings["guards"] = [str(guards.base / "none"), str(guards.state)]
    return helper


def refused(helper: HelperProcess, operation: str) -> str:
    with pytest.raises(HelperError) as caught:
        helper.call(operation)
    assert caught.value.name == "NotHeld"
    return str(caught.value)


def test_an_operation_is_done_while_this_host_holds_the_lease(secured: HelperProcess, guards: Guards) -> None:
    secured.start(say={"argv": SAY, "secured_by": "r"})
    assert refused(secured, "say") == "say: this host does not hold r: no service on this host holds it"
    guard = guards.start("billing")
    token = guards.until("billing", "active")["resources"][0]["token"]
    assert secured.call("say")["stdout"] == f"r {token}\n"
    guard.terminate()
    guard.wait(30)
    assert "no service on this host holds it" in refused(secured, "say")
    guards.start("billing")
    guards.until("billing", "active")
    assert secured.call("say")["stdout"] == f"r {token + 1}\n"


def test_a_disk_is_meant_by_the_path_of_the_lease(secured: HelperProcess, guards: Guards) -> None:
    image = guards.base / "disk.img"
    image.write_bytes(bytes(512))
    secured.start(say={"argv": SAY, "secured_by": f"disk:{image}"}, other={"argv": SAY, "secured_by": "disk:/none"})
    guards.start("billing", f"--resource=disk:{image}")
    token = guards.until("billing", "active")["resources"][0]["token"]
    assert secured.call("say")["stdout"] == f"disk:{image} {token}\n"
    assert "no service on this host holds it" in refused(secured, "other")


def test_another_resource_and_a_guard_in_line_do_not_count(secured: HelperProcess, guards: Guards) -> None:
    secured.start(say={"argv": SAY, "secured_by": "r"})
    guards.start("other", "--resource=s")
    guards.until("other", "active")
    assert "no service on this host holds it" in refused(secured, "say")


def test_the_worker_is_below_the_holder_and_dies_with_it(secured: HelperProcess, guards: Guards) -> None:
    secured.start(stay={"argv": ["/bin/sleep", "1000"], "secured_by": "r", "timeout": 500})
    guards.start("billing")
    report = guards.until("billing", "active")
    caller = secured.caller(0, "call", "stay")
    wait_until(lambda: len(secured.programs()) == 1)
    [worker] = secured.programs()
    assert os.readlink(f"/proc/{worker}/ns/pid") == os.readlink(f"/proc/{report['tree']}/ns/pid")
    second = guards.start("second")
    guards.until("second", "standby")
    procs.kill(report["pid"])
    guards.until("second", "active")
    assert not procs.alive(worker)
    assert "was killed when r was lost" in caller.communicate(timeout=30)[1]
    assert secured.calls("lost")[0]["operation"] == "stay"
    assert second.poll() is None


def test_the_lease_waits_for_a_worker_of_a_helper_that_sleeps(secured: HelperProcess, guards: Guards) -> None:
    pid = secured.start(stay={"argv": ["/bin/sleep", "1000"], "secured_by": "r", "timeout": 500})
    guards.start("billing")
    report = guards.until("billing", "active")
    caller = secured.caller(0, "call", "stay")
    wait_until(lambda: len(secured.programs()) == 1)
    [worker] = secured.programs()
    guards.start("second")
    guards.until("second", "standby")
    os.kill(pid, signal.SIGSTOP)
    try:
        procs.kill(report["pid"])
        # The worker is dead at once. It is not collected while the helper sleeps, and till then nobody has the lease.
        wait_until(lambda: not procs.alive(worker))
    finally:
        os.kill(pid, signal.SIGCONT)
    guards.until("second", "active")
    caller.communicate(timeout=30)


def test_a_function_is_secured_as_well(secured: HelperProcess, guards: Guards) -> None:
    file = secured.base / "functions.py"
    file.write_text("import os\ndef token():\n    return int(os.environ['HOLDFAST_TOKEN'])\n")
    secured.start(token={"function": {"file": str(file), "name": "token"}, "secured_by": "r"})
    guards.start("billing")
    token = guards.until("billing", "active")["resources"][0]["token"]
    assert secured.call("token")["result"] == token


def test_a_holder_without_a_namespace_is_none(secured: HelperProcess, guards: Guards) -> None:
    secured.start(say={"argv": SAY, "secured_by": "r"})
    guards.start("billing", "--containment=process_group", "--safety=standard")
    guards.until("billing", "active")
    assert "without a pid namespace" in refused(secured, "say")


def test_what_is_said_for_all_holds_unless_an_operation_is_unsecured(secured: HelperProcess) -> None:
    secured.settings["secured_by"] = "r"
    secured.start(one={"argv": ["/bin/true"]}, two={"argv": ["/bin/true"], "unsecured": True})
    assert "does not hold r" in refused(secured, "one")
    assert secured.call("two")["exit"] == 0


def test_a_folder_that_others_may_write_to_proves_nothing(secured: HelperProcess, guards: Guards) -> None:
    secured.start(say={"argv": SAY, "secured_by": "r"})
    guards.start("billing")
    guards.until("billing", "active")
    guards.state.chmod(0o777)
    assert "others may write" in refused(secured, "say")


@pytest.fixture(scope="module")
def etcd() -> Iterator[Cluster]:
    if not ETCD:
        pytest.skip("there is no etcd")
    made = Cluster().start()
    yield made
    made.close()


def beating(history: Path) -> dict[str, Any]:
    """An operation that nobody gets rid of but by force, and that writes down each moment at which it lives."""
    program = history.parent / "stubborn.py"
    program.write_text(STUBBORN)
    command = [PYTHON, "-I", "-S", str(program), str(history), "operation"]
    return {"argv": command, "secured_by": "r", "timeout": 500, "capabilities": ["dac_override"]}


def last_beat(history: Path) -> float:
    lines = [line for line in history.read_text().splitlines() if " operation " in line]
    return int(lines[-1].split()[2]) / 1e9


@pytest.mark.parametrize(
    ("driver", "event"),
    [("file", "killed"), ("etcd", "killed"), ("etcd", "stopped"), ("etcd", "released"), ("etcd", "store lost")],
)
def test_a_worker_has_ended_before_anybody_else_is_granted_a_real_lease(
    secured: HelperProcess, guards: Guards, request: pytest.FixtureRequest, driver: str, event: str
) -> None:
    history = guards.base / "history"
    history.touch()
    etcd = request.getfixturevalue("etcd") if driver == "etcd" else None
    if etcd is not None:
        guards.use_etcd(etcd.endpoints)
    secured.start(beat=beating(history))
    holder = guards.start("holder", "--stop-timeout=0.2")
    guards.until("holder", "active")
    caller = secured.caller(0, "call", "beat")
    wait_until(lambda: " operation " in history.read_text())
    # Another host has the same, and works at once when it is its turn.
    successor = [PYTHON, "-I", "-S", "-c", STUBBORN, str(history), "successor"]
    guards.start("successor", command=tuple(successor))
    guards.until("successor", "standby")
    valid = guards.call("holder", "Status")["valid_until"]
    if event == "killed":
        holder.kill()
    elif event == "stopped":
        holder.send_signal(signal.SIGSTOP)
    elif event == "released":
        holder.terminate()
    else:
        assert etcd is not None
        with etcd.members[0].frozen():
            # Nothing renews it any more.
            valid = guards.call("holder", "Status")["valid_until"]
            holder.wait(60)
            caller.wait(60)
            assert last_beat(history) < valid
    holder.wait(60)
    wait_until(lambda: " successor " in history.read_text(), 60)
    assert overlaps(history) == (2, [])
    if event == "stopped":
        # One renewal may have been under way when it was stopped, and was none that it heard of.
        assert last_beat(history) < valid + 3
    assert caller.wait(60) == 1
    assert "was killed when r was lost" in caller.communicate()[1]
