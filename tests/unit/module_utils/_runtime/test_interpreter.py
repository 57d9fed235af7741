# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The interpreter of the runtime: version, kernel, and who could exchange it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._runtime import interpreter
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.interpreter import Unfit

ME = os.geteuid()


def answering(code: int, output: str, errors: str = "") -> interpreter.Runner:
    return lambda _command: (code, output, errors)


def test_a_new_enough_python_is_fit() -> None:
    found = interpreter.probe(
        "/p", answering(0, '{"version":[3,9,0],"tag":"cpython-39","name":"cpython","program":"/x"}\n')
    )
    assert (found.path, found.version, found.program) == ("/p", (3, 9, 0), "/x")
    assert found.command("x") == ["/p", "-I", "-S", "x"]


@pytest.mark.parametrize(
    ("runner", "message"),
    [
        (
            answering(0, '{"version":[3,8,18],"tag":"cpython-38","name":"cpython","program":"/x"}'),
            r"/p is Python 3.8.18, needed is 3.9",
        ),
        (answering(0, '{"version":[3,10,1],"tag":"pypy310","name":"pypy","program":"/x"}'), "/p is pypy"),
        (answering(1, "", "boom\nlast words\n"), "exit code 1: last words"),
        (answering(0, "hello"), "answered 'hello'"),
        (answering(0, "[]"), "answered"),
    ],
)
def test_anything_else_is_refused_with_a_reason(runner: interpreter.Runner, message: str) -> None:
    with pytest.raises(Unfit, match=message):
        interpreter.probe("/p", runner)


@pytest.mark.parametrize("release", ["5.4.0-200-generic", "5.15.1", "6.1.0-26-amd64", "10.0"])
def test_a_new_enough_kernel_is_fit(release: str) -> None:
    interpreter.check_kernel("Linux", release)


@pytest.mark.parametrize(
    ("system", "release"), [("Linux", "5.3.18"), ("Linux", "3.10.0-1160.el7"), ("FreeBSD", "14.0")]
)
def test_an_old_kernel_or_another_system_is_refused(system: str, release: str) -> None:
    with pytest.raises(Unfit, match="needed is"):
        interpreter.check_kernel(system, release)


def test_the_interpreter_is_known_again_without_running_it(tmp_path: Path) -> None:
    path = tmp_path / "python"
    path.write_text("one")
    before = interpreter.identity(str(path))
    assert interpreter.identity(str(path)) == before
    path.write_text("another")
    assert interpreter.identity(str(path)) != before


def test_a_missing_interpreter_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unfit, match=r"no Python at .*/python"):
        interpreter.identity(str(tmp_path / "python"))


@pytest.mark.skipif(ME != 0, reason="what belongs to root can be laid out by root only")
class TestPath:
    @pytest.fixture
    def home(self) -> Iterator[Path]:
        """A folder that only root can change, as all that leads to it: /tmp, where pytest works, is for everybody."""
        with tempfile.TemporaryDirectory(dir="/usr/local/lib") as path:
            os.chmod(path, 0o755)
            yield Path(path)

    def test_the_own_system_python_is_safe(self) -> None:
        interpreter.check_path("/usr/bin/python3")

    def test_a_file_of_somebody_else_is_refused(self, home: Path) -> None:
        path = home / "python"
        path.write_text("")
        interpreter.check_path(str(path))
        os.chown(path, 12345, 0)
        with pytest.raises(Unfit, match=f"{path} belongs to uid 12345"):
            interpreter.check_path(str(path))

    def test_a_directory_that_others_may_write_to_is_refused(self, home: Path) -> None:
        folder = home / "bin"
        folder.mkdir()
        (folder / "python").write_text("")
        os.chmod(folder, 0o777)
        with pytest.raises(Unfit, match=rf"{folder} \(mode 0777\) can be changed by others"):
            interpreter.check_path(str(folder / "python"))

    def test_a_group_other_than_that_of_root_is_others(self, home: Path) -> None:
        path = home / "python"
        path.write_text("")
        os.chmod(path, 0o775)
        interpreter.check_path(str(path))
        os.chown(path, 0, 12345)
        os.chmod(path, 0o775)
        with pytest.raises(Unfit, match="can be changed by others"):
            interpreter.check_path(str(path))

    def test_what_a_link_leads_to_counts(self, home: Path, tmp_path: Path) -> None:
        target = home / "elsewhere"
        target.mkdir()
        (target / "python").write_text("")
        link = home / "python"
        link.symlink_to("elsewhere/../elsewhere/python")
        interpreter.check_path(str(link))
        os.chown(target, 12345, 0)
        with pytest.raises(Unfit, match=f"{target} belongs to uid 12345"):
            interpreter.check_path(str(link))

    def test_a_link_that_leads_to_itself_ends(self, home: Path) -> None:
        link = home / "python"
        link.symlink_to("python")
        with pytest.raises(Unfit, match="too many symbolic links"):
            interpreter.check_path(str(link))


def test_a_relative_path_is_refused() -> None:
    with pytest.raises(Unfit, match="absolute"):
        interpreter.check_path("python3")


def test_this_python_answers_the_probe() -> None:
    import subprocess

    def run(command: list[str]) -> tuple[int, str, str]:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    assert interpreter.probe(sys.executable, run).version == tuple(sys.version_info[:3])
