# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the helper has in memory for life, and what it does without."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from helping import PYTHON, HelperProcess

#: Each is some hundred kilobytes with what it brings along.
HEAVY = {
    *("json", "re", "enum", "signal", "functools", "collections", "contextlib", "heapq", "runpy", "importlib.util"),
    *("ctypes", "dataclasses", "typing", "inspect", "hashlib", "socket", "subprocess", "threading", "logging"),
}
#: What judges the file, and what only a worker, a helper with jobs or one with resources needs.
FOR_OTHERS = {"schema", "reading", "child", "nursery", "seccomp", "capabilities", "jobs", "resources", "secured"}


def modules(runtime: Path, statement: str) -> set[str]:
    """What is loaded in a process that has begun as the helper does, and has done something."""
    code = f"import sys\nsys.path.insert(0, {str(runtime)!r})\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([PYTHON, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_helper_loads_nothing_that_it_can_do_without(runtime: Path) -> None:
    found = modules(runtime, "import holdfast._helper.daemon")
    assert "holdfast._helper.calls" in found
    assert not HEAVY & found
    assert not {f"holdfast._helper.{one}" for one in FOR_OTHERS} & found


def test_reading_its_file_leaves_nothing_behind(runtime: Path, helper: HelperProcess) -> None:
    helper.configure(true={"argv": ["/bin/true"]})
    read = f"from holdfast._helper import daemon; daemon._judge('', daemon._read({str(helper.file)!r}, True))"
    assert not HEAVY & modules(runtime, read)


def test_regular_expressions_are_there_from_the_start_where_there_is_a_pattern(
    runtime: Path, helper: HelperProcess
) -> None:
    """An upgrade of Python on the host may take them away before the first call."""
    text = {"type": "string", "pattern": "[a-z]+"}
    made = f"from holdfast._helper.operations import Operation; Operation('x', {{'allow': [], 'parameters': {{'text': {text}}}}})"
    assert "re" in modules(runtime, made)


@pytest.mark.parametrize("program", ["", "/__main__.py"], ids=["directory", "file"])
def test_the_runtime_is_run_by_its_directory_or_by_the_file_in_it(helper: HelperProcess, program: str) -> None:
    """The command runs the file: what finds out that a directory is a program stays in memory."""
    helper.base.joinpath("current").symlink_to(helper.runtime)
    command = [PYTHON, "-I", "-S", f"{helper.base}/current{program}"]
    done = subprocess.run([*command, "version"], capture_output=True, text=True, check=True)
    # The link was followed once, and what is loaded later comes from there.
    assert done.stdout.split()[:2] == ["holdfast", helper.runtime.resolve().name]
