# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a service's process is born with: identity, limits, directory, environment, descriptors."""

from __future__ import annotations

import grp
import os
import pwd
import signal
import subprocess
from pathlib import Path
from typing import Any

import procs
import pytest
from supervised import Scan
from waiting import wait_until

root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def born(scan: Scan, **process: Any) -> int:
    """Start a service with this process state and give its pid."""
    defaults = scan.definition("a")["process"]
    scan.add("a", process={**defaults, **process})
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    # Ready by grace may be earlier than the exec of the program at the end of the script.
    wait_until(lambda: procs.arguments(pid)[:1] == ["sleep"])
    return int(pid)


@root
def test_user_with_the_groups_of_his_account(scan: Scan) -> None:
    account = pwd.getpwnam("nobody")
    status = procs.status(born(scan, user="nobody"))
    assert status["Uid"].split() == [str(account.pw_uid)] * 4
    assert status["Gid"].split() == [str(account.pw_gid)] * 4
    assert set(status["Groups"].split()) == {str(gid) for gid in os.getgrouplist("nobody", account.pw_gid)}


@root
def test_group_and_supplementary_groups(scan: Scan) -> None:
    main, other = grp.getgrnam("daemon").gr_gid, grp.getgrnam("tty").gr_gid
    status = procs.status(born(scan, user="nobody", group="daemon", groups=["tty"]))
    assert status["Gid"].split() == [str(main)] * 4
    assert set(status["Groups"].split()) in ({str(other)}, {str(main), str(other)})


@root
def test_no_supplementary_groups(scan: Scan) -> None:
    status = procs.status(born(scan, user="nobody", groups=[]))
    assert set(status["Groups"].split()) <= {str(pwd.getpwnam("nobody").pw_gid)}


@root
def test_an_ordinary_user_has_no_capabilities(scan: Scan) -> None:
    status = procs.status(born(scan, user="nobody"))
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapAmb"], 16) == 0


@root
def test_the_account_is_in_the_environment(scan: Scan) -> None:
    account = pwd.getpwnam("daemon")
    environment = procs.environment(born(scan, user="daemon"))
    assert (environment["USER"], environment["LOGNAME"], environment["HOME"]) == ("daemon", "daemon", account.pw_dir)


def test_limits_umask_and_nice(scan: Scan) -> None:
    pid = born(scan, limits={"nofile": [123, 456], "core": [0, 0]}, umask=0o027, nice=7)
    limits = procs.limits(pid)
    assert limits["Max open files"] == ("123", "456")
    assert limits["Max core file size"] == ("0", "0")
    assert procs.status(pid)["Umask"] == "0027"
    assert os.getpriority(os.PRIO_PROCESS, pid) == 7


def test_the_supervisors_own_descriptor_limit_is_not_passed_on(scan: Scan) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    pid = born(scan)
    assert procs.limits(pid)["Max open files"] == (str(soft), str(hard))


@root
def test_oom_score(scan: Scan) -> None:
    pid = born(scan, oom_score_adjust=300)
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "300"


@root
@pytest.mark.parametrize("state", [{}, {"umask": 0o022}])
def test_the_supervisors_oom_score_is_not_passed_on(scan: Scan, state: dict[str, Any]) -> None:
    scan.add("a", process={**scan.definition("a")["process"], **state})
    scan.start(preexec_fn=lambda: Path("/proc/self/oom_score_adj").write_text("500"))
    pid = scan.until("a", "ready")["pid"]
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "0"


def test_umask_is_022_whatever_the_supervisor_was_started_with(scan: Scan) -> None:
    scan.add("a")
    scan.start(preexec_fn=lambda: os.umask(0o077))
    pid = scan.until("a", "ready")["pid"]
    assert procs.status(pid)["Umask"] == "0022"


@pytest.mark.parametrize("state", [{}, {"umask": 0o022}])
def test_no_descriptor_leaks(scan: Scan, state: dict[str, Any]) -> None:
    scan.add("first")
    scan.add("a", process={**scan.definition("a")["process"], **state}, needs=["first"])
    leak = os.open("/dev/zero", os.O_RDONLY)
    try:
        scan.start(pass_fds=[leak])
        pid = scan.until("a", "ready")["pid"]
    finally:
        os.close(leak)
    wait_until(lambda: procs.arguments(pid)[:1] == ["sleep"])
    found = procs.descriptors(pid)
    assert {0, 1, 2} <= set(found)
    assert set(found) <= {0, 1, 2}, found
    assert found[0] == "/dev/null"


@pytest.mark.parametrize("state", [{}, {"umask": 0o022}])
def test_the_notification_descriptor_alone_is_passed(scan: Scan, state: dict[str, Any]) -> None:
    scan.add(
        "a",
        "#!/bin/sh\necho >&5\nexec sleep 100000\n",
        process={**scan.definition("a")["process"], **state},
        readiness={"notification_fd": 5},
    )
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    wait_until(lambda: procs.arguments(pid)[:1] == ["sleep"])
    assert set(procs.descriptors(pid)) == {0, 1, 2, 5}


@pytest.mark.parametrize("state", [{}, {"umask": 0o022}])
def test_the_environment_is_free_of_the_supervisors_own(scan: Scan, state: dict[str, Any]) -> None:
    scan.add("a", process={**scan.definition("a")["process"], **state})
    scan.add("b", plain=True)
    for_manager = {
        "NOTIFY_SOCKET": "/nowhere",
        "LISTEN_FDS": "1",
        "LISTEN_PID": "1",
        "LISTEN_FDNAMES": "x",
        "WATCHDOG_USEC": "1",
        "WATCHDOG_PID": "1",
        "INVOCATION_ID": "x",
        "JOURNAL_STREAM": "1:1",
    }
    scan.start(environment={**for_manager, "FOR_ALL": "yes"})
    for name in ("a", "b"):
        environment = procs.environment(scan.until(name, "ready")["pid"])
        assert not set(for_manager) & set(environment)
        assert environment["FOR_ALL"] == "yes"
        assert environment["PATH"]
        assert len(environment["HOLDFAST_SPAWN"]) >= 16
    assert procs.environment(scan.service("a")["pid"])["HOLDFAST_APPLIED"] == "1"
    assert "HOLDFAST_APPLIED" not in procs.environment(scan.service("b")["pid"])


def test_secret_environment(scan: Scan) -> None:
    directory = scan.add("a", files={"env/PASSWORD": "first\nline two "})
    scan.start()
    first = scan.until("a", "ready")["pid"]
    assert procs.environment(first)["PASSWORD"] == "first\nline two "
    (directory / "env" / "PASSWORD").write_text("second")
    scan.control("a", "restart")
    wait_until(lambda: scan.service("a")["pid"] not in (0, first))
    assert procs.environment(scan.until("a", "ready")["pid"])["PASSWORD"] == "second"


@pytest.mark.parametrize("state", [{}, {"umask": 0o022}])
def test_signals_are_in_their_default_state(scan: Scan, state: dict[str, Any]) -> None:
    scan.add("a", process={**scan.definition("a")["process"], **state})

    def spoil() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR2])

    scan.start(preexec_fn=spoil)
    status = procs.status(scan.until("a", "ready")["pid"])
    # Signals 32 and 33 belong to the C library, which ignores them by itself in what posix_spawn starts.
    assert int(status["SigIgn"], 16) & ~(0b11 << 31) == 0
    assert int(status["SigBlk"], 16) == 0


def test_own_session_and_working_directory(scan: Scan) -> None:
    pid = born(scan)
    assert os.getsid(pid) == os.getpgid(pid) == pid
    assert procs.working_directory(pid) == os.path.realpath(scan.path / "a")


@root
def test_runtime_directories_are_made_anew(scan: Scan) -> None:
    place = scan.base / "a"
    born(scan, user="nobody", runtime_directories=[{"path": str(place), "mode": 0o750, "user": None, "group": None}])
    found = place.stat()
    assert (found.st_mode & 0o7777, found.st_uid) == (0o750, pwd.getpwnam("nobody").pw_uid)


@pytest.mark.parametrize(
    ("process", "word"),
    [
        ({"user": "no-such-user"}, "no-such-user"),
        ({"group": "no-such-group"}, "no-such-group"),
        ({"groups": ["no-such-group"]}, "no-such-group"),
        ({"limits": {"no-such-limit": [1, 1]}}, "no-such-limit"),
        ({"limits": {"nofile": [5, 1]}}, "nofile"),
    ],
)
def test_a_state_that_cannot_be_had_is_a_reason_not_to_start(scan: Scan, process: dict[str, Any], word: str) -> None:
    scan.add("a", process={**scan.definition("a")["process"], **process})
    scan.add("b")
    scan.start()
    scan.until("b", "ready")
    report = scan.until("a", "backoff", "failed")
    assert word in report["reason"]
    assert not [event for event in scan.events("a") if event["event"] == "ready"]


@root
def test_finish_and_check_run_under_the_same_user(scan: Scan) -> None:
    note = "#!/bin/sh\nid -u >{}\nexit 0\n"
    place = scan.base / "notes"
    place.mkdir()
    place.chmod(0o777)
    scan.add(
        "a",
        files={"finish": note.format(place / "finish"), "check": note.format(place / "check")},
        process={**scan.definition("a")["process"], "user": "nobody"},
        readiness={"check": True},
    )
    scan.start()
    scan.until("a", "ready")
    scan.control("a", "stop")
    scan.until("a", "down")
    uid = f"{pwd.getpwnam('nobody').pw_uid}\n"
    assert (place / "check").read_text() == uid
    assert (place / "finish").read_text() == uid


def test_a_service_is_not_ready_before_its_program_runs(scan: Scan) -> None:
    process = {**scan.definition("a")["process"], "runtime_directories": [{"path": "/proc/none", "mode": 0o755}]}
    scan.add("a", process=process, readiness={"grace": 0.0})
    scan.start()
    wait_until(lambda: scan.service("a")["deaths"] >= 10)
    assert not [event for event in scan.events("a") if event["event"] == "ready"]


def test_a_person_can_run_the_script_by_hand(scan: Scan) -> None:
    # Nothing of the supervisor is needed for it: the script is a program.
    directory = scan.add("a", "#!/bin/sh\necho by hand\n")
    answer = subprocess.run(["./run"], cwd=directory, capture_output=True, text=True, timeout=20, check=True)
    assert answer.stdout == "by hand\n"
