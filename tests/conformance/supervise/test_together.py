# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is around a service: its hooks, the services that it needs, its descendants, its timer."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import procs
import pytest
from conforming import Supervised, features, sh
from converging import SLEEP
from waiting import wait_until

HOOK = """\
#!/bin/sh
echo "$1 $2 $HOLDFAST_EXIT_CODE" >>{marks}
"""


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def folder(host: Supervised) -> Iterator[Path]:
    """A folder of hooks; not in /tmp, on the way to which others may write."""
    path = Path(tempfile.mkdtemp(prefix="hf-hooks-", dir="/var/lib"))
    host.share(path)
    yield path
    shutil.rmtree(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="hooks run in a pid namespace, which needs root")
@features("hooks")
def test_hooks_run_around_start_and_stop(host: Supervised, folder: Path) -> None:
    marks = host.base / "marks"
    for point in ("before_start", "after_start", "before_stop", "after_stop"):
        (folder / point).mkdir()
        hook = folder / point / "10-note"
        hook.write_text(HOOK.format(marks=marks))
        hook.chmod(0o755)
    definition = {"one": {"command": SLEEP, "hooks": {"directory": str(folder)}}}
    host.good(definition)
    wait_until(lambda: lines(marks) == ["before_start one ", "after_start one "])
    assert not host.good(definition)["changed"]
    assert host.tell("one", "stop", "down").outcome == "reached"
    assert lines(marks)[2:] == ["before_stop one ", "after_stop one -1"]
    # One that says stop keeps the service from being started.
    (folder / "before_start" / "20-refuse").write_text("#!/bin/sh\necho not today >&2\nexit 2\n")
    (folder / "before_start" / "20-refuse").chmod(0o755)
    host.control(("one", "start"))
    wait_until(lambda: lines(marks).count("before_start one ") >= 3)
    assert lines(marks).count("after_start one ") == 1


@features("needs")
def test_a_service_waits_for_those_that_it_needs(host: Supervised) -> None:
    go, marks = host.base / "go", host.base / "marks"
    definitions = {
        "front": {"command": sh(f"echo front >>{marks}; exec sleep 100000"), "needs": ["back"]},
        "back": {
            "command": sh(
                f"while [ ! -e {go} ]; do sleep 0.02; done; echo back >>{marks}; echo >&3; exec sleep 100000"
            ),
            "readiness": {"notification_fd": 3},
        },
    }
    host.task(definitions, timeout=1.0)
    assert host.until("front", "waiting").pid is None
    go.touch()
    host.until("front", "ready")
    # Ready by its time of grace.
    wait_until(lambda: lines(marks) == ["back", "front"])
    assert not host.good(definitions)["changed"]


@features("periodic")
def test_a_periodic_service_runs_again_and_again(host: Supervised) -> None:
    marks = host.base / "marks"
    definition = {"beat": {"command": sh(f"echo >>{marks}"), "type": "periodic", "interval": "1s"}}
    host.good(definition)
    wait_until(lambda: len(lines(marks)) >= 3)
    assert not host.good(definition)["changed"]
    assert host.tell("beat", "stop", "down").outcome == "reached"


@features("kill.tree")
def test_descendants_in_groups_of_their_own_are_stopped_too(host: Supervised) -> None:
    child = host.base / "child"
    script = f"setsid sh -c 'echo $$ >{child}; exec sleep 100000' & wait"
    host.good({"one": {"command": sh(script), "kill": "tree"}})
    wait_until(lambda: child.exists() and child.read_text())
    pid = host.number(int(child.read_text()))
    assert procs.alive(pid)
    assert host.tell("one", "stop", "down").outcome == "reached"
    procs.until_dead(pid)


@features("health")
def test_a_service_that_is_not_well_is_started_again(host: Supervised) -> None:
    well = host.base / "well"
    well.touch()
    health = {"check": ["/usr/bin/test", "-e", str(well)], "interval": "50ms", "failures": 2}
    host.good({"one": {"command": SLEEP, "health": health}})
    before = host.service("one").pid
    well.unlink()
    wait_until(lambda: host.service("one").pid not in (None, before))
    well.touch()
    host.until("one", "ready")
