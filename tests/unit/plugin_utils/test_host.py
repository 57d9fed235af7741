# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looking at a host with its shell alone: what is asked, what is made of the answer."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from ansible_collections.holdfast.supervision.plugins.plugin_utils import host

GOOD = host.Found("Linux", "5.4.0-200-generic", 0, "/root", "", "3.9.2", ())


def ask(python: str, *users: str) -> host.Found:
    done = subprocess.run(["/bin/sh", "-c", host.script(python, users)], capture_output=True, text=True, check=True)
    return host.read(done.stdout)


def test_this_machine_answers() -> None:
    found = ask("/usr/bin/python3", "root", "nobody-of-this-name")
    me = pwd.getpwuid(os.geteuid())
    assert (found.system, found.kernel) == ("Linux", os.uname().release)
    assert (found.uid, found.home) == (me.pw_uid, me.pw_dir)
    assert found.users == ("root",)
    assert found.unsafe == ""
    assert host.problem(found, "/usr/bin/python3") is None


def test_a_path_is_a_path_whatever_is_in_it(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    assert ask(f"/x'; touch {trap}; '").python == ""
    assert ask("/usr/bin/python3", f"$(touch {trap})").users == ()
    assert not trap.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to lose")
@pytest.mark.parametrize("where", ["file", "directory", "target of a link"])
def test_root_does_not_run_what_others_can_change(tmp_path: Path, where: str) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    python = folder / "python"
    python.write_text(f"#!/bin/sh\ntouch {tmp_path}/run\necho 3.11.2\n")
    python.chmod(0o755)
    asked = python
    guilty = python
    if where == "directory":
        guilty = folder
    elif where == "target of a link":
        asked = tmp_path / "link"
        asked.symlink_to(python)
    guilty.chmod(0o777)
    found = ask(str(asked))
    assert (found.unsafe, found.python) == (str(guilty), "")
    assert not (tmp_path / "run").exists()
    assert f"{asked} can be changed by others than root (see {guilty})" in str(host.problem(found, str(asked)))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"system": "FreeBSD"}, "the operating system is FreeBSD, needed is Linux 5.4 or newer."),
        ({"system": ""}, "the operating system is unknown"),
        ({"kernel": "4.18.0-553.el8"}, "the kernel is Linux 4.18.0-553.el8, needed is 5.4 or newer: update the kernel"),
        ({"python": ""}, "there is no working Python at /p: install python3"),
        ({"python": "3.8.18"}, "/p is Python 3.8.18, needed is 3.9 or newer: install a newer one"),
        ({"python": "2.7.18"}, "/p is Python 2.7.18"),
        ({"uid": None}, "does not tell user and home"),
    ],
)
def test_an_unfit_host_is_told_what_was_found_and_what_cures_it(change: dict[str, object], sentence: str) -> None:
    assert sentence in str(host.problem(GOOD._replace(**change), "/p"))  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{}, {"kernel": "6.18.44"}, {"kernel": "10.0"}, {"python": "3.14.0"}])
def test_a_fit_host_is_fit(change: dict[str, str]) -> None:
    assert host.problem(GOOD._replace(**change), "/p") is None  # type: ignore[arg-type]


def test_greetings_and_the_line_ends_of_a_terminal_do_not_matter() -> None:
    found = host.read(
        "Welcome! a=b\r\nsystem=Linux\r\nkernel=6.1\r\nuid=7\r\nhome=/h=x\r\npython=3.11.2\r\nuser=a\r\nuser=b\r\n"
    )
    assert found == host.Found("Linux", "6.1", 7, "/h=x", "", "3.11.2", ("a", "b"))
