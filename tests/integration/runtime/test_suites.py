# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The suites of the daemontools family set up, run, stopped and removed as the role does it, without systemd."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import procs
import pytest
from conforming import Supervised, sweep
from converging import SLEEP
from deployed import PYTHON, run

from ansible_collections.holdfast.supervision.plugins.module_utils._runtime import host, roots
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.suite_root import (
    SUITES,
    EncoreRoot,
    SuiteRoot,
)
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.systemd import Systemd

PACKAGED = [suite for suite in SUITES if suite is not EncoreRoot]
#: daemontools-encore, where somebody has built it.
ENCORE = os.environ.get("HOLDFAST_ENCORE", "")
KINDS = PACKAGED + ([EncoreRoot] if ENCORE else [])


@pytest.fixture
def base() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="hf-suite-"))
    folder.chmod(0o755)
    yield folder
    sweep(folder)
    shutil.rmtree(folder)


def root_of(kind: type[SuiteRoot], base: Path, **options: str) -> SuiteRoot:
    if kind is EncoreRoot:
        options.setdefault("prefix", ENCORE)
    wanted = host.Wanted(
        str(base / "services"),
        str(base / "run"),
        str(base / "log"),
        str(base / "lib"),
        PYTHON,
        version="v",
        timeout=60.0,
        **options,
    )
    return kind(host.Host(wanted, run, Systemd({}, run)))


def tasks_on(kind: type[SuiteRoot], runtime: Path, base: Path) -> Supervised:
    """Tasks for what a root of a suite runs."""
    return type("Deployed", (Supervised,), {"backend": kind.name})(runtime, base)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_it_is_set_up_once_and_removed_without_a_trace(kind: type[SuiteRoot], base: Path, runtime: Path) -> None:
    root = root_of(kind, base)
    predicted = roots.started(root, check_mode=True)
    assert list(base.iterdir()) == []
    made = roots.started(root, check_mode=False)
    assert made["changed"] and made["state"] == "running" and made["actions"] == predicted["actions"]
    again = roots.started(root_of(kind, base), check_mode=False)
    assert not again["changed"] and again["pid"] == made["pid"]

    tasks = tasks_on(kind, runtime, base)
    pid = tasks.good({"one": {"command": SLEEP}}, defaults={})["services"]["one"]["pid"]
    assert procs.alive(pid)

    assert roots.stopped(root, check_mode=False)["changed"]
    assert not procs.alive(pid) and root.running() is None
    assert not roots.stopped(root, check_mode=False)["changed"]
    assert roots.started(root, check_mode=False)["changed"]
    gone = roots.absent(root, check_mode=False)
    assert gone["changed"]
    # What is left is what other roles have made: the portable directory of the service, and its log.
    assert sorted(path.name for path in (base / "services").iterdir()) == ["one"], list(
        (base / "services" / f".{kind.name}").rglob("*")
    )
    assert not roots.absent(root, check_mode=False)["changed"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_root_process_that_died_is_started_again_and_the_services_have_not_noticed(
    kind: type[SuiteRoot], base: Path, runtime: Path
) -> None:
    root = root_of(kind, base)
    first = roots.started(root, check_mode=False)["pid"]
    tasks = tasks_on(kind, runtime, base)
    pid = tasks.good({"one": {"command": SLEEP}}, defaults={})["services"]["one"]["pid"]
    procs.kill(first)
    procs.until_dead(first)
    made = roots.started(root, check_mode=False)
    assert made["actions"] == ["start the supervisor"] and made["pid"] != first
    assert procs.alive(pid) and tasks.service("one").pid == pid
    assert not tasks.good({"one": {"command": SLEEP}}, defaults={})["changed"]
    roots.stopped(root, check_mode=False)
    assert not procs.alive(pid)


def test_encore_needs_a_prefix_with_its_programs(base: Path) -> None:
    with pytest.raises(host.Failed, match="supervisor_prefix"):
        roots.started(root_of(EncoreRoot, base, prefix=""), check_mode=False)
    with pytest.raises(host.Failed, match=f"no svscan, no supervise, no multilog in {base}"):
        roots.started(root_of(EncoreRoot, base, prefix=str(base)), check_mode=False)
    assert os.listdir(base) == []
