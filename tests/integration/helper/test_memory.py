# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The memory of a worker that has become a program is somebody else's for a moment: who that is, and that he goes."""

from __future__ import annotations

import os
import shutil

import procs
import pytest
from helping import HelperProcess
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._helper import zygote

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a helper gives away what only root has"),
    pytest.mark.skipif(os.uname().machine not in zygote.CLONE, reason="nothing is left on this machine"),
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="with one processor there is nobody to take it over"),
]


#: What a program, and whoever has its memory for it, may do.
PRIVILEGES = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")


def take_time(helper: HelperProcess) -> None:
    """Have the moment take ten minutes, also right behind another call, when none is left."""
    copy = helper.base / "runtime"
    shutil.copytree(helper.runtime, copy)
    for name, before, after in (
        ("memory", "_MOMENT = 1000\n", "_MOMENT = 600_000_000\n"),
        ("calls", "REST = 1e-3\n", "REST = 0.0\n"),
    ):
        (file,) = copy.rglob(f"_helper/{name}.py")
        text = file.read_text()
        assert text.count(f"\n{before}") == 1
        file.write_text(text.replace(before, after))
    helper.runtime = copy


def prepared(helper: HelperProcess, ended: int) -> bool:
    """Whether two wait, of whom one has become the user of the operation already; not counted who has *ended*, and may still be noted."""
    waiting = {int(file.name) for file in helper.base.glob("run/workers/*") if file.name.isdecimal()} - {ended}
    return len(waiting) == 2 and any(procs.status(one)["Uid"].split()[0] == "1" for one in waiting)


def test_it_has_what_the_program_has_and_ends_with_it(helper: HelperProcess) -> None:
    take_time(helper)
    go, found = helper.work / "go", helper.work / "found"
    script = f"read -r children </proc/$$/task/$$/children; echo $$ $children >{found}.new; mv {found}.new {found}"
    script += f"; until test -e {go}; do sleep 0.01; done"
    pid = helper.start(wait={"argv": ["/bin/sh", "-c", script], "user": "daemon", "idempotency": "pure"})
    client = helper.client()
    go.touch()
    assert client.call("wait", {})["exit"] == 0
    go.unlink()
    (before,) = map(int, found.read_text().split())
    found.unlink()
    wait_until(lambda: prepared(helper, before))
    calling = helper.beside(client.call, "wait", {})
    wait_until(found.exists)
    # It has no children that it does not know.
    (program,) = map(int, found.read_text().split())
    (other,) = (one for one in procs.children(pid) if one != program and os.getpgid(one) == program)
    theirs, its = procs.status(other), procs.status(program)
    assert [theirs[key] for key in PRIVILEGES] == [its[key] for key in PRIVILEGES]
    assert procs.name(other) == "holdfast-worker"
    go.touch()
    assert calling.result()["exit"] == 0
    procs.until_dead(other)
