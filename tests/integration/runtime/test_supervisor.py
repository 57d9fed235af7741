# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The supervisor on a host: started, exchanged while services run, taken back when the new one is no good, removed."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from deployed import PYTHON, Deployment, alive, run, runtime
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._runtime import (
    archive,
    control,
    directories,
    host,
    install,
)

SLEEP = "#!/bin/sh\nexec sleep 100000\n"
# A runtime that passes its selftest and never becomes a supervisor.
USELESS = "def main(arguments):\n    import sys\n    sys.stderr.write('I am no good\\n')\n    return 1\n"
# The same, but it holds the lock and answers nobody.
MUTE = """\
import os, signal
def main(arguments):
    os.environ.pop('HOLDFAST_LOCK_FD', None)
    import fcntl
    lock = os.open(arguments[-1] + '/.holdfast/lock', os.O_RDWR)
    fcntl.lockf(lock, fcntl.LOCK_EX)
    while True:
        signal.pause()
"""


def test_it_is_started_and_the_second_time_nothing_happens(deployment: Deployment) -> None:
    deployment.install(runtime())
    result = deployment.start()
    assert (result["changed"], result["state"], result["version"]) == (True, "running", deployment.layout.active())
    assert result["boot"].startswith("nothing will start it at boot")
    again = deployment.start()
    assert (again["changed"], again["actions"], again["pid"]) == (False, [], result["pid"])


def test_check_mode_on_a_bare_host_foretells_and_touches_nothing(deployment: Deployment) -> None:
    foretold = deployment.start(check=True, version="0" * 16)
    assert not list(deployment.base.iterdir())
    deployment.install(runtime())
    done = deployment.start()
    assert foretold["changed"] and foretold["actions"] == done["actions"]


def test_it_is_nobodys_child_and_keeps_nothing_of_its_caller(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "somewhere")
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        deployment.install(runtime())
        pid = deployment.start()["pid"]
        assert os.getsid(pid) not in (os.getsid(0), 0)
        assert b"SSH_CONNECTION" not in Path(f"/proc/{pid}/environ").read_bytes()
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        pipe = os.readlink(f"/proc/self/fd/{writer}")
        assert pipe not in [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()]
    finally:
        os.close(reader)
        os.close(writer)


def test_another_runtime_takes_over_and_no_service_notices(deployment: Deployment) -> None:
    deployment.install(runtime())
    before = deployment.start()
    deployment.add("one", SLEEP)
    service = deployment.service("one")
    files = runtime(_command__extra="X = 1\n")
    deployment.install(files)
    foretold = deployment.start(check=True)
    result = deployment.start()
    assert result["actions"] == foretold["actions"]
    assert result["changed"] is True
    assert result["version"] == archive.version_of(files) != before["version"]
    assert deployment.service("one")["pid"] == service["pid"]
    assert alive(service["pid"])
    assert deployment.start()["changed"] is False


@pytest.mark.parametrize("program", [USELESS, MUTE], ids=["ends", "mute"])
def test_a_runtime_that_does_not_take_over_is_taken_back(deployment: Deployment, program: str) -> None:
    deployment.install(runtime())
    good = deployment.start()
    deployment.add("one", SLEEP)
    pid = deployment.service("one")["pid"]
    deployment.install(runtime(_supervise___embedded__daemon=program))
    with pytest.raises(host.Failed, match=rf"did not take over.*the previous runtime {good['version']} runs again"):
        deployment.start(timeout=2.0)
    assert deployment.layout.active() == good["version"]
    found = deployment.supervisor.ask()
    assert found is not None and found.version == good["version"]
    assert alive(pid)
    assert deployment.service("one")["pid"] == pid
    again = deployment.start()
    assert (again["changed"], again["version"]) == (False, good["version"])


def test_a_supervisor_that_was_killed_is_started_again_and_adopts(deployment: Deployment) -> None:
    deployment.install(runtime())
    first = deployment.start()
    deployment.add("one", SLEEP)
    pid = deployment.service("one")["pid"]
    os.kill(first["pid"], signal.SIGKILL)
    wait_until(lambda: not alive(first["pid"]))
    result = deployment.start()
    assert result["actions"] == ["start the supervisor"]
    assert deployment.service("one")["pid"] == pid


def test_another_interpreter_takes_over_and_no_service_notices(deployment: Deployment) -> None:
    deployment.install(runtime())
    first = deployment.start()
    deployment.add("one", SLEEP)
    service = deployment.service("one")["pid"]
    python = str(deployment.base / "python")
    shutil.copy(os.path.realpath(PYTHON), python)
    deployment.install(runtime(), python=python)
    foretold = deployment.start(check=True, python=python)
    result = deployment.start(python=python)
    assert result["actions"] == foretold["actions"] == [f"restart the supervisor with {python}"]
    assert os.readlink(f"/proc/{result['pid']}/exe") == python
    assert not alive(first["pid"])

    # The same path, another file: as after an upgrade of the distribution.
    shutil.copy(python, python + ".new")
    os.rename(python + ".new", python)
    deployment.install(runtime(), python=python)
    upgraded = deployment.start(python=python)
    assert upgraded["actions"] == [f"restart the supervisor with the new {python}"]
    assert os.readlink(f"/proc/{upgraded['pid']}/exe") == python
    assert deployment.start(python=python)["changed"] is False
    assert deployment.service("one")["pid"] == service


def test_one_that_does_not_start_is_told_with_its_last_words(deployment: Deployment) -> None:
    deployment.install(runtime(_supervise___embedded__daemon=USELESS))

    def told() -> str:
        with pytest.raises(host.Failed, match="does not answer") as failure:
            deployment.start(timeout=1.0)
        return str(failure.value)

    # It need not have come to its words within the second.
    wait_until(lambda: "it said last: I am no good" in told())


def test_a_mute_one_is_named_and_left_alone(deployment: Deployment) -> None:
    deployment.install(runtime())
    pid = deployment.start()["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        # Its socket's queue still accepts; the answer never comes.
        with pytest.raises(host.Failed, match=f"process {pid} holds the lock"):
            deployment.start(timeout=0.2)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert alive(pid)


def test_without_a_runtime_it_says_so(deployment: Deployment) -> None:
    with pytest.raises(host.Failed, match="there is no runtime"):
        deployment.start()
    assert not deployment.scan.exists()


def test_a_directory_that_others_can_change_is_refused(deployment: Deployment) -> None:
    deployment.install(runtime())
    deployment.scan.mkdir(parents=True)
    deployment.scan.chmod(0o777)
    with pytest.raises(directories.Unsafe, match="chmod go-w"):
        deployment.start()
    assert not list(deployment.scan.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
def test_a_directory_of_somebody_else_is_refused_and_not_taken(deployment: Deployment) -> None:
    deployment.install(runtime())
    log = deployment.base / "holdfast" / "log"
    log.mkdir(parents=True)
    with pytest.raises(directories.Unsafe, match=r"belongs to root, not to nobody.*chown nobody"):
        deployment.start(log_user="nobody")
    assert log.stat().st_uid == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run the log writer as another user")
def test_the_log_directory_is_made_for_the_log_user(deployment: Deployment) -> None:
    deployment.install(runtime())
    deployment.start(log_user="nobody")
    assert (deployment.base / "holdfast" / "log").owner() == "nobody"


def test_stopping_ends_all_services_first(deployment: Deployment) -> None:
    deployment.install(runtime())
    pid = deployment.start()["pid"]
    deployment.add("one", SLEEP)
    service = deployment.service("one")["pid"]
    assert control.stopped(deployment.control(), True)["changed"] is True
    assert alive(pid)
    result = control.stopped(deployment.control(), False)
    assert (result["changed"], result["state"]) == (True, "stopped")
    assert not alive(pid)
    assert not alive(service)
    assert control.stopped(deployment.control(), False)["changed"] is False


def test_stopping_ends_what_a_killed_supervisor_has_left(deployment: Deployment) -> None:
    deployment.install(runtime())
    pid = deployment.start()["pid"]
    deployment.add("one", SLEEP)
    service = deployment.service("one")["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid))
    result = control.stopped(deployment.control(), False)
    assert result["changed"] is True
    assert not alive(service)


def test_nothing_of_ours_is_left_and_all_that_is_foreign(deployment: Deployment) -> None:
    deployment.install(runtime())
    deployment.start()
    wanted = deployment.control(remove_logs=True)
    foretold = control.absent(wanted, True)
    assert foretold["changed"] is True
    control.absent(wanted, False)
    assert control.absent(wanted, False)["changed"] is False
    assert sorted(path.name for path in (deployment.base / "holdfast").iterdir()) == ["bin", "lib"]
    deployment.start()
    deployment.add("one", SLEEP)
    (deployment.base / "holdfast" / "run" / "mine").write_text("")
    (deployment.base / "holdfast" / "log" / "mine").write_text("")
    control.absent(wanted, False)
    assert deployment.definitions() == ["one"]
    assert os.listdir(deployment.base / "holdfast" / "run") == ["mine"]
    assert os.listdir(deployment.base / "holdfast" / "log") == ["mine"]


def test_another_run_directory_needs_a_stopped_supervisor(deployment: Deployment) -> None:
    deployment.install(runtime())
    deployment.start()
    elsewhere = str(deployment.base / "holdfast" / "elsewhere")
    with pytest.raises(host.Failed, match="stop it first"):
        deployment.start(run_directory=elsewhere)
    control.stopped(deployment.control(), False)
    assert deployment.start(run_directory=elsewhere)["changed"] is True
    assert os.readlink(deployment.scan / ".holdfast") == elsewhere


def test_the_version_that_runs_is_not_pruned(deployment: Deployment) -> None:
    deployment.install(runtime())
    first = str(deployment.start()["version"])
    for number in (1, 2, 3):
        deployment.install(runtime(_command__extra=f"X = {number}\n"))
    assert first in deployment.layout.present()
    assert install.in_use(deployment.layout.tree(first))
    deployment.start()
    assert first in deployment.install(runtime(_command__extra="X = 4\n"))["pruned"]


def test_the_command_answers(deployment: Deployment) -> None:
    deployment.install(runtime())
    deployment.start()
    deployment.add("one", SLEEP)
    code, output, _errors = run([str(deployment.command), "status"])
    assert code == 0
    assert "one" in output
