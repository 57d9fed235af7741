# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installing runtimes: whole or not at all, one link, the previous one kept, none removed that is in use."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._runtime import (
    archive,
    converge,
    install,
    interpreter,
)
from ansible_collections.holdfast.supervision.plugins.plugin_utils import pack

PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
# Runs the entry point of a runtime with argv `x`, then waits for the end of its input.
STARTED_AND_WAITING = """\
import sys
tree, main = sys.argv[1:]
sys.argv = ["x"]
names = {"__name__": "__main__", "__file__": tree + "/__main__.py", "__spec__": None}
exec(compile(main.replace("sys.exit", "print"), "main", "exec"), names)
sys.stdout.flush()
sys.stdin.read()
"""
LAZY = """\
def main(arguments):
    import sys
    if arguments != ["selftest"]:
        sys.stdin.readline()
        from . import late
        print(late.TEXT)
"""
LOCKING = """\
import fcntl, sys
file = open(sys.argv[1], "r+")
print("x", flush=True)
fcntl.flock(file, fcntl.LOCK_EX)
print("y")
"""


def run(command: list[str]) -> tuple[int, str, str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def runtime(text: str, selftest: str = "return 0") -> dict[str, bytes]:
    """A small runtime that prints *text* for any verb but selftest."""
    body = f"def main(arguments):\n    if arguments == ['selftest']:\n        {selftest}\n    print({text!r})\n    return 0\n"
    return {
        "__main__.py": pack.MAIN.encode(),
        "holdfast/__init__.py": b"",
        "holdfast/_command/__init__.py": b"",
        "holdfast/_command/main.py": body.encode(),
    }


class Place:
    """A directory for runtimes and the module's body on it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "lib" / "holdfast"
        self.command = folder / "bin" / "holdfast"
        self.layout = install.Layout(str(self.root))

    def wanted(self, files: dict[str, bytes], payload: bool = True) -> converge.Wanted:
        return converge.Wanted(
            str(self.root),
            str(self.command),
            PYTHON,
            "/etc/holdfast/some services",
            archive.version_of(files),
            archive.encode(files) if payload else None,
        )

    def deploy(self, files: dict[str, bytes], payload: bool = True, check: bool = False) -> dict[str, Any]:
        return converge.present(self.wanted(files, payload), run, check)

    def says(self) -> str:
        code, output, errors = run([str(self.command), "say"])
        assert code == 0, errors
        return output.strip()

    def state(self) -> list[tuple[str, str]]:
        """Everything below, with contents: two equal states mean that nothing was touched."""
        found = []
        for path in sorted(self.root.parent.parent.rglob("*")):
            if path.is_symlink():
                found.append((str(path), os.readlink(path)))
            elif path.is_file():
                found.append((str(path), f"{path.stat().st_mtime_ns} {path.read_bytes()!r}"))
            else:
                found.append((str(path), ""))
        return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_without_the_archive_it_is_asked_for_and_nothing_is_changed(place: Place) -> None:
    result = place.deploy(runtime("one"), payload=False)
    assert result["needs_payload"] is True
    assert not place.root.exists()


def test_a_runtime_is_installed_and_runs(place: Place) -> None:
    files = runtime("one")
    result = place.deploy(files)
    assert result["changed"] is True
    assert result["version"] == place.layout.active() == archive.version_of(files)
    assert place.says() == "one"
    assert os.listdir(place.layout.tree(archive.version_of(files)) + "/holdfast/_command/__pycache__")


def test_what_runs_has_no_documentation_in_memory(place: Place) -> None:
    files = runtime("one")
    files["holdfast/_command/main.py"] = b'"""About it."""\n\ndef main(arguments):\n    print(__doc__)\n'
    place.deploy(files)
    assert place.says() == "None"


def test_what_is_installed_is_not_asked_for_again_and_nothing_is_touched(place: Place) -> None:
    place.deploy(runtime("one"))
    before = place.state()
    result = place.deploy(runtime("one"), payload=False)
    assert (result["changed"], result["needs_payload"], result["actions"]) == (False, False, [])
    assert place.state() == before


def test_check_mode_foretells_what_is_then_done(place: Place) -> None:
    for files in (runtime("one"), runtime("two")):
        foretold = place.deploy(files, payload=False, check=True)
        before = place.state()
        assert foretold["needs_payload"] is False
        done = place.deploy(files)
        assert before != place.state()
        for key in ("changed", "actions", "version", "previous", "diff"):
            assert foretold[key] == done[key], key


def test_check_mode_leaves_a_bare_host_bare(place: Place, tmp_path: Path) -> None:
    place.deploy(runtime("one"), payload=False, check=True)
    assert not list(tmp_path.iterdir())


def test_the_previous_version_is_kept_and_older_ones_go(place: Place) -> None:
    versions = []
    for text in ("one", "two", "three"):
        result = place.deploy(runtime(text))
        versions.append(result["version"])
    assert place.says() == "three"
    assert result["pruned"] == [versions[0]]
    assert place.layout.present() == sorted(versions[1:])
    assert place.layout.named_by(place.layout.previous) == versions[1]


def test_a_version_that_a_process_uses_is_not_pruned(place: Place) -> None:
    first = str(place.deploy(runtime("one"))["version"])
    waiting = subprocess.Popen(
        [PYTHON, "-I", "-S", "-c", STARTED_AND_WAITING, place.layout.current, pack.MAIN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "one\n"
        assert waiting.stdout.readline() == "0\n"
        place.deploy(runtime("two"))
        assert place.deploy(runtime("three"))["pruned"] == []
        assert first in place.layout.present()
        with pytest.raises(converge.Refused, match=first):
            converge.absent(str(place.root), str(place.command), False)
    finally:
        waiting.communicate("")
    assert first in place.deploy(runtime("four"))["pruned"]


def test_a_runtime_whose_selftest_fails_changes_nothing(place: Place) -> None:
    place.deploy(runtime("one"))
    before = place.state()
    with pytest.raises(install.InstallError, match=r"could not test.*no good"):
        place.deploy(runtime("two", "raise SystemExit('no good')"))
    assert place.state() == before
    assert place.says() == "one"


def test_a_runtime_that_does_not_compile_changes_nothing(place: Place) -> None:
    place.deploy(runtime("one"))
    before = place.state()
    broken = {**runtime("two"), "holdfast/broken.py": b"def"}
    with pytest.raises(install.InstallError, match="could not byte-compile"):
        place.deploy(broken)
    assert place.state() == before


def test_a_damaged_version_is_repaired(place: Place) -> None:
    files = runtime("one")
    place.deploy(files)
    module = Path(place.layout.tree(archive.version_of(files)), "holdfast/_command/main.py")
    module.write_text("raise SystemExit(7)")
    assert place.deploy(files, payload=False)["needs_payload"] is True
    assert place.deploy(files)["changed"] is True
    assert place.says() == "one"
    assert place.deploy(files, payload=False)["changed"] is False
    assert place.layout.present() == [archive.version_of(files)]
    assert sorted(os.listdir(place.layout.versions)) == place.layout.present()


def test_another_build_of_the_interpreter_compiles_again(place: Place) -> None:
    files = runtime("one")
    place.deploy(files)
    record = Path(place.layout.tree(archive.version_of(files)), install.INTERPRETER)
    record.write_text("{}")
    result = place.deploy(files, payload=False)
    assert result["needs_payload"] is False
    assert "compile runtime" in result["actions"][0]
    assert place.deploy(files, payload=False)["changed"] is False


def test_leftovers_of_an_interrupted_run_go(place: Place) -> None:
    place.deploy(runtime("one"))
    (Path(place.layout.versions) / ".new-abc").mkdir()
    (Path(place.layout.versions) / ".old-abc").mkdir()
    place.deploy(runtime("two"))
    assert sorted(os.listdir(place.layout.versions)) == place.layout.present()


def test_roll_back_needs_a_whole_version(place: Place) -> None:
    first = str(place.deploy(runtime("one"))["version"])
    place.deploy(runtime("two"))
    install.roll_back(place.layout, first)
    assert place.says() == "one"
    with pytest.raises(install.InstallError, match="not in"):
        install.roll_back(place.layout, "0" * 16)
    assert place.says() == "one"


def test_tracebacks_name_the_final_place(place: Place) -> None:
    files = runtime("one")
    files["holdfast/_command/main.py"] = b"def main(arguments):\n    if arguments != ['selftest']:\n        1 / 0\n"
    place.deploy(files)
    _code, _output, errors = run([str(place.command), "say"])
    assert f"{place.layout.tree(archive.version_of(files))}/holdfast/_command/main.py" in errors


def test_a_lazy_import_comes_from_the_version_that_was_started(place: Place, tmp_path: Path) -> None:
    files = runtime("started")
    files["holdfast/_command/main.py"] = LAZY.encode()
    files["holdfast/_command/late.py"] = b"TEXT = 'old'\n"
    other = {**files, "holdfast/_command/late.py": b"TEXT = 'new'\n"}
    place.deploy(files)
    started = subprocess.Popen([str(place.command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        # It holds the version from its first lines on.
        wait_until(lambda: install.in_use(place.layout.tree(archive.version_of(files))))
        place.deploy(other)
    finally:
        output, _errors = started.communicate("\n")
    assert output == "old\n"


def test_a_command_of_somebody_else_is_not_overwritten(place: Place) -> None:
    place.command.parent.mkdir()
    place.command.write_text("#!/bin/sh\n")
    with pytest.raises(converge.Refused, match="not made by"):
        place.deploy(runtime("one"))
    assert place.command.read_text() == "#!/bin/sh\n"
    assert not place.root.exists()


def test_the_command_tells_the_scan_directory_unless_it_is_told_one(place: Place) -> None:
    files = runtime("")
    files["holdfast/_command/main.py"] = (
        b"import os\ndef main(arguments):\n    print(os.environ.get('HOLDFAST_SCAN'))\n"
    )
    place.deploy(files)
    assert place.says() == "/etc/holdfast/some services"
    done = subprocess.run([place.command, "x"], env={"HOLDFAST_SCAN": "/x"}, capture_output=True, text=True, check=True)
    assert done.stdout == "/x\n"


def test_everything_goes_but_what_is_foreign(place: Place, tmp_path: Path) -> None:
    place.deploy(runtime("one"))
    place.deploy(runtime("two"))
    foretold = converge.absent(str(place.root), str(place.command), True)
    assert place.says() == "two"
    result = converge.absent(str(place.root), str(place.command), False)
    assert (result["changed"], result["actions"]) == (True, foretold["actions"])
    assert not place.root.exists()
    assert not place.command.exists()
    assert converge.absent(str(place.root), str(place.command), False)["changed"] is False
    place.deploy(runtime("one"))
    (place.root / "mine").write_text("")
    (Path(place.layout.versions) / "mine").write_text("")
    converge.absent(str(place.root), str(place.command), False)
    assert sorted(path.name for path in place.root.rglob("*")) == ["mine", "mine", "versions"]


def test_two_installers_wait_for_each_other(place: Place) -> None:
    with install.locked(place.layout):
        other = subprocess.Popen([sys.executable, "-c", LOCKING, place.layout.lock], stdout=subprocess.PIPE, text=True)
        assert other.stdout is not None
        assert other.stdout.readline() == "x\n"
        with open(place.layout.lock) as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert other.poll() is None
    assert other.communicate()[0] == "y\n"


def test_an_unfit_python_changes_nothing(place: Place, tmp_path: Path) -> None:
    wanted = place.wanted(runtime("one"))
    wanted.python = str(tmp_path / "python")
    with pytest.raises(interpreter.Unfit):
        converge.present(wanted, run, False)
    assert not list(tmp_path.iterdir())


def test_modes_do_not_depend_on_the_umask(place: Place) -> None:
    before = os.umask(0o077)
    try:
        place.deploy(runtime("one"))
    finally:
        os.umask(before)
    for path in place.root.rglob("*"):
        if path.is_symlink() or path.name == ".lock":
            continue
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path
    assert place.command.stat().st_mode & 0o777 == 0o755
