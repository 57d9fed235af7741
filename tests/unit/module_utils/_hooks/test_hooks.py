# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hooks: which files are hooks, what is told of them, and what those around the start of the supervisor may say."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import procs
import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._hooks import daemon, hooks

POINT = hooks.BEFORE_DAEMON_START


def hook(folder: Path, name: str, text: str, mode: int = 0o755) -> Path:
    path = folder / "hooks.d" / POINT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return path


def run(folder: Path, limit: float = 20.0) -> str:
    scan = str(folder / "services")
    (folder / "state").mkdir(exist_ok=True)
    return daemon.run(hooks.directory_of(scan), POINT, "s6", scan, str(folder / "state"), limit)


def test_each_hook_is_told_with_its_checksum(tmp_path: Path) -> None:
    second, first = hook(tmp_path, "20-b", "exit 1"), hook(tmp_path, "10-a", "exit 0")
    for name in ("note.txt", ".hidden", "30-c~"):
        hook(tmp_path, name, "exit 2", 0o644 if name == "note.txt" else 0o755)
    told = hooks.describe(str(tmp_path / "hooks.d"), hooks.DAEMON_POINTS)
    assert told == {
        POINT: [
            {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "problem": ""}
            for path in (first, second)
        ],
        hooks.AFTER_DAEMON_START: [],
    }


def test_a_hook_that_others_may_change_is_told_as_refused(tmp_path: Path) -> None:
    path = hook(tmp_path, "10-a", "exit 0", 0o777)
    [told] = hooks.describe(str(tmp_path / "hooks.d"), (POINT,))[POINT]
    assert told["problem"] == f"{path}: others may write to {path}"
    assert "others may write" in run(tmp_path)


def test_a_folder_that_is_none_is_told_too(tmp_path: Path) -> None:
    (tmp_path / POINT).write_text("")
    [told] = hooks.describe(str(tmp_path), (POINT,))[POINT]
    assert told["path"] == str(tmp_path / POINT) and "Not a directory" in told["problem"]


def test_they_run_in_their_order_with_the_documented_environment_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/nowhere.so")
    hook(tmp_path, "20-env", f'echo "$@" >>{tmp_path}/story; env | sort >{tmp_path}/env; pwd >>{tmp_path}/story')
    hook(tmp_path, "10-first", f"echo first >>{tmp_path}/story; exit 1")
    assert run(tmp_path) == ""
    assert (tmp_path / "story").read_text().splitlines() == ["first", f"{POINT} s6", "/"]
    told = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    for name in ("PWD", "OLDPWD", "SHLVL", "_"):
        told.pop(name, None)
    assert told == {
        "HOLDFAST_BACKEND": "s6",
        "HOLDFAST_HOOK_STATE": str(tmp_path / "state"),
        "HOLDFAST_POINT": POINT,
        "HOLDFAST_SCAN": str(tmp_path / "services"),
        "HOME": "/",
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("echo no disk >&2; exit 2", "failed (exit code 2): no disk"),
        ("exit 77", "failed (exit code 77)"),
        ("kill -9 $$", "failed (signal 9)"),
    ],
)
def test_one_that_says_stop_is_the_last_one(tmp_path: Path, text: str, how: str) -> None:
    path = hook(tmp_path, "10-stop", text)
    hook(tmp_path, "20-never", f"touch {tmp_path}/ran")
    assert run(tmp_path) == f"hook {path} {how}"
    assert not (tmp_path / "ran").exists()


def test_one_that_takes_too_long_is_killed_with_what_it_has_started(tmp_path: Path) -> None:
    path = hook(tmp_path, "10-slow", f"sleep 1000 & echo $! >{tmp_path}/pid; wait")
    assert run(tmp_path, 1.0) == f"hook {path} failed (took too long and was killed)"
    pid = int((tmp_path / "pid").read_text())
    procs.until_dead(pid)


def test_the_program_makes_a_folder_that_both_points_share(tmp_path: Path) -> None:
    scan = tmp_path / "services"
    scan.mkdir()
    (scan / ".holdfast").symlink_to(tmp_path / "run")
    hook(tmp_path, "10-keep", 'echo kept >"$HOLDFAST_HOOK_STATE/x"')
    after = tmp_path / "hooks.d" / hooks.AFTER_DAEMON_START
    hook(tmp_path, "x", "").rename(tmp_path / "x")
    after.mkdir()
    (tmp_path / "x").rename(after / "x")
    (after / "x").write_text(f'#!/bin/sh\ncat "$HOLDFAST_HOOK_STATE/x" >{tmp_path}/story\n')
    assert daemon.main([POINT, "runit", str(scan)]) == 0
    assert stat.S_IMODE((tmp_path / "run" / "hooks").stat().st_mode) == 0o700
    assert daemon.main([hooks.AFTER_DAEMON_START, "runit", str(scan)]) == 0
    assert (tmp_path / "story").read_text() == "kept\n"
    assert not (tmp_path / "run" / "hooks").exists()


@pytest.mark.parametrize(
    "arguments", [[], ["before_start", "s6", "/x"], [POINT, "s6"], [POINT, "--of", "x", "s6", "/x"]]
)
def test_a_wrong_call_runs_nothing(arguments: list[str]) -> None:
    assert daemon.main(arguments) == 2
