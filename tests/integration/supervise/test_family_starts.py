# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts of the same service that meet, as when a supervisor is killed again and again: at most one comes through."""

from __future__ import annotations

import subprocess
from pathlib import Path

from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise import family_scripts
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.portable import Portable
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.runit import Runit


def hold(folder: Path, name: str) -> str:
    """Give the command that says that it is here, and waits until it may go on."""
    return f"{{ echo >{folder}/{name}.here; while [ ! -e {folder}/{name}.go ]; do sleep 0.01; done; }}"


def test_two_starts_that_see_each_other_late_do_not_both_come_through(tmp_path: Path) -> None:
    portable, suite, marks = tmp_path / "one", tmp_path / "suite", tmp_path / "marks"
    for folder in (portable, suite):
        folder.mkdir()
    (portable / "run").write_text(f"#!/bin/sh\necho $$ >>{marks}; exec sleep 100000\n")
    (portable / "run").chmod(0o755)
    meta = {"name": "one", "definition": "a", "revision": 1, "kill": "process", "stop_timeout": 5.0}
    script = family_scripts.run(Portable("one", str(portable), frozenset(("run",)), meta), Runit.dialect)

    def start(name: str, text: str) -> subprocess.Popen[bytes]:
        (tmp_path / name).write_text(text)
        return subprocess.Popen(["/bin/sh", str(tmp_path / name)], cwd=suite, stdin=subprocess.DEVNULL)

    # One has looked and is about to say so; the other has seen that nothing runs, and not yet who is on the way.
    noted, look = "\n: >failed\n", "for file; do\n"
    assert noted in script and look in script
    first = start("first", script.replace(noted, f"\n{hold(tmp_path, 'first')}{noted}"))
    wait_until((tmp_path / "first.here").exists)
    second = start("second", script.replace(look, f"{look}[ $file = started ] || {hold(tmp_path, 'second')}\n"))
    try:
        wait_until((tmp_path / "second.here").exists)
        (tmp_path / "first.go").touch()
        wait_until(lambda: first.poll() is not None or marks.exists())
        (tmp_path / "second.go").touch()
        wait_until(
            lambda: second.poll() is not None or str(second.pid) in (marks.read_text() if marks.exists() else "")
        )
        assert [one.poll() is None for one in (first, second)].count(True) == 1
    finally:
        for one in (first, second):
            one.kill()
            one.wait()
