# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The supervisor's units: what is asked of systemctl, and what of the files is ours."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.files import MARKER
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.systemd import Systemd, UnitError
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.users_systemd import UsersSystemd
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._systemd import manager

TEXTS = {"holdfast.service": f"{MARKER}\none\n", "holdfast-services.service": f"{MARKER}\ntwo\n"}


class Recorder:
    """A systemctl that answers *code* and keeps what it was asked."""

    def __init__(self, units: Path, code: int = 0, output: str = "", errors: str = "") -> None:
        self.units = units
        self.asked: list[str] = []
        self.answer = (code, output, errors)

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        assert command[0] == "systemctl"
        self.asked.append(" ".join(command[1:]))
        if command[1] == "enable" and self.answer[0] == 0:
            wanted = self.units / "multi-user.target.wants"
            wanted.mkdir(exist_ok=True)
            for name in command[2:]:
                (wanted / name).symlink_to(self.units / name)
        return self.answer


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    units = tmp_path / "units"
    units.mkdir()
    (tmp_path / "running").mkdir()
    return Recorder(units)


def systemd(recorder: Recorder, texts: dict[str, str] | None = None) -> Systemd:
    return Systemd(
        TEXTS if texts is None else texts, recorder, str(recorder.units), str(recorder.units.parent / "running")
    )


def test_units_are_written_enabled_and_then_as_they_should_be(recorder: Recorder) -> None:
    units = systemd(recorder)
    assert units.is_init()
    assert units.differing() == units.disabled() == list(TEXTS)
    assert units.installed() == []
    units.write(units.differing())
    units.enable(units.disabled())
    assert recorder.asked == ["daemon-reload", "enable holdfast.service holdfast-services.service"]
    assert (recorder.units / "holdfast.service").read_text() == TEXTS["holdfast.service"]
    assert (units.differing(), units.disabled(), units.installed()) == ([], [], list(TEXTS))


def test_only_what_differs_is_written(recorder: Recorder) -> None:
    units = systemd(recorder)
    units.write(list(TEXTS))
    (recorder.units / "holdfast.service").write_text(f"{MARKER}\nchanged by hand\n")
    assert units.differing() == ["holdfast.service"]


def test_a_unit_of_somebody_else_is_left_alone(recorder: Recorder) -> None:
    path = recorder.units / "holdfast.service"
    path.write_text("[Service]\n")
    with pytest.raises(UnitError, match="was not made by"):
        systemd(recorder).differing()
    assert path.read_text() == "[Service]\n"


def test_units_are_stopped_one_by_one_the_last_first(recorder: Recorder) -> None:
    units = systemd(recorder)
    units.write(list(TEXTS))
    recorder.asked.clear()
    units.stop()
    assert recorder.asked == ["stop holdfast-services.service", "stop holdfast.service"]


def test_what_is_removed_leaves_nothing(recorder: Recorder) -> None:
    units = systemd(recorder)
    units.write(list(TEXTS))
    units.enable(list(TEXTS))
    (recorder.units / "other.service").write_text("")
    units.remove()
    names = sorted(path.name for path in recorder.units.rglob("*"))
    assert names == ["multi-user.target.wants", "other.service"]
    assert recorder.asked[-2:] == ["daemon-reload", "reset-failed holdfast.service holdfast-services.service"]


def test_a_failure_is_told_with_what_systemctl_said(recorder: Recorder) -> None:
    recorder.answer = (1, "", "Unit is masked.\n")
    with pytest.raises(UnitError, match=r"systemctl restart holdfast\.service: Unit is masked\."):
        systemd(recorder).restart("holdfast.service")


@pytest.mark.parametrize("name", ["../evil.service", "a/b.service", "x.timer", "-H.service/..", ""])
def test_a_name_that_is_no_unit_is_refused(recorder: Recorder, name: str) -> None:
    with pytest.raises(UnitError, match="no name of a service unit"):
        systemd(recorder, {name: ""})


@pytest.mark.parametrize(
    ("output", "inactive"),
    [
        ("active\nactive\n", []),
        ("inactive\nfailed\n", list(TEXTS)),
        ("activating\ninactive\n", ["holdfast-services.service"]),
        ("", list(TEXTS)),
    ],
)
def test_what_is_about_to_run_counts_as_active(recorder: Recorder, output: str, inactive: list[str]) -> None:
    recorder.answer = (3, output, "")
    assert systemd(recorder).inactive() == inactive


def listening(path: Path) -> socket.socket:
    one = socket.socket(socket.AF_UNIX)
    one.bind(str(path))
    one.listen()
    return one


def test_a_users_systemd_that_has_ended_and_left_its_socket_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "private"
    assert not manager.listens(str(path))
    with listening(path):
        assert manager.listens(str(path))
    # Its folder goes a moment after it.
    threading.Timer(0.1, path.unlink).start()
    assert not manager.listens(str(path)) and not path.exists()
    listening(path).close()
    monkeypatch.setattr(manager, "DEAF", 0.1)
    assert not manager.listens(str(path)) and path.exists()


def test_a_users_systemd_that_executes_itself_anew_runs(tmp_path: Path) -> None:
    path, beside = tmp_path / "private", tmp_path / "beside"
    listening(path).close()
    with listening(beside):
        threading.Timer(0.1, beside.replace, [path]).start()
        assert manager.listens(str(path))


@pytest.mark.parametrize("ended", [True, False])
def test_a_users_systemd_that_ends_meanwhile_has_stopped_its_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "systemd").mkdir()
    private = listening(tmp_path / "systemd" / "private")
    asked = []

    def run(command: list[str]) -> tuple[int, str, str]:
        asked.append(command[4:])
        if ended and (tmp_path / "systemd" / "private").exists():
            private.close()
            (tmp_path / "systemd" / "private").unlink()
        return 1, "", "Failed to connect to bus: Connection refused\n"

    units = UsersSystemd(TEXTS, run, "/scan")
    folder = tmp_path / ".config" / "systemd" / "user"
    folder.mkdir(parents=True)
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    if ended:
        units.stop()
        assert asked == [["stop", "holdfast-services.service"], ["stop", "holdfast.service"]]
        units.remove()
        assert units.installed() == []
    else:
        with pytest.raises(UnitError, match="Connection refused"):
            units.stop()
        private.close()
