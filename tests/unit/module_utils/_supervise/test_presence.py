# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backend supervises a scan directory: by what is there, and without the code of any backend."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise import (
    _openrc,
    choosing,
    holding,
    presence,
)
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._supervisord import program
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._systemd import files
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.backends import BACKENDS

#: Holds the lock argv[1], or is called argv[2] in the folder argv[1], until its input ends.
HOLD = """
import fcntl, os, sys
if len(sys.argv) == 2:
    file = open(sys.argv[1], "w")
    fcntl.lockf(file, fcntl.LOCK_EX)
else:
    os.chdir(sys.argv[1])
    with open("/proc/self/comm", "w") as name:
        name.write(sys.argv[2])
print("there", flush=True)
sys.stdin.read()
"""


class Process:
    """A supervisor as far as anybody looks."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-c", HOLD, *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> None:
        assert self._process.stdout is not None and self._process.stdout.readline() == "there\n"

    def __exit__(self, *_details: object) -> None:
        self._process.communicate()


def test_where_nothing_is_the_embedded_one_is_taken(tmp_path: Path) -> None:
    assert presence.which(str(tmp_path)) == presence.which(str(tmp_path / "absent")) == "embedded"
    assert not any(presence.present(name, str(tmp_path)) for name in presence.NAMES)


def test_the_embedded_one_is_known_by_its_lock_unless_openrc_is_above_it(tmp_path: Path) -> None:
    (tmp_path / ".holdfast").mkdir()
    with Process(str(tmp_path / ".holdfast" / "lock")):
        assert presence.present("embedded", str(tmp_path))
        (tmp_path / ".openrc").mkdir()
        (tmp_path / ".openrc" / "settings.json").write_text("{}")
        assert not presence.present("embedded", str(tmp_path))
        assert presence.which(str(tmp_path)) == "openrc"


@pytest.mark.parametrize("name", list(presence.SCANNERS))
def test_a_suite_is_known_by_its_process_on_its_own_directory(tmp_path: Path, name: str) -> None:
    folder = tmp_path / f".{name}"
    folder.mkdir()
    with Process(str(folder), presence.SCANNERS[name]):
        assert presence.which(str(tmp_path)) == name
        assert choosing.choose("auto", str(tmp_path)).name == name
        assert choosing.choose("embedded", str(tmp_path)).name == "embedded"
    # It is only stopped.
    assert presence.which(str(tmp_path)) == name
    folder.rmdir()
    assert presence.which(str(tmp_path)) == "embedded"


def test_while_the_backend_is_switched_it_is_the_one_that_the_services_go_to(tmp_path: Path) -> None:
    (tmp_path / ".runit").mkdir()
    holding.begin(str(tmp_path))
    assert presence.which(str(tmp_path)) == "runit"
    holding.write(str(tmp_path), "web", holding.Mark("runit", holding.READY, "s6"))
    assert presence.which(str(tmp_path)) == "s6"
    holding.end(str(tmp_path))
    assert presence.which(str(tmp_path)) == "runit"


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("systemd", f"{files.FOLDER}/{files.SETTINGS}"),
        ("supervisord", f"{program.FOLDER}/{program.CONFIGURATION}"),
        ("openrc", f"{_openrc.FOLDER}/{_openrc.SETTINGS}"),
    ],
)
def test_others_are_known_by_the_settings_that_they_read(tmp_path: Path, name: str, settings: str) -> None:
    (tmp_path / settings).parent.mkdir()
    (tmp_path / settings).write_text("")
    assert presence.which(str(tmp_path)) == name


def test_each_name_is_that_of_its_backend() -> None:
    assert {name: choosing.load(name).name for name in presence.NAMES} == {name: name for name in BACKENDS}
