# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line for people on the host."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import procs
import pytest
from supervised import Scan
from waiting import wait_until

LONG = 100000.0


def log(scan: Scan, name: str) -> dict[str, Any]:
    return {
        "to": "directory", "directory": str(scan.base / "log" / name), "size": 1000000, "count": 10, "age": None,
        "keep": None, "format": "none",
    }  # fmt: skip


@pytest.fixture(autouse=True)
def log_folder(scan: Scan) -> None:
    (scan.base / "log").mkdir()


def test_status_is_a_table(scan: Scan) -> None:
    scan.add("web")
    scan.add("worker-with-a-long-name", "#!/bin/sh\nexit 3\n", backoff={"initial": LONG, "maximum": LONG})
    scan.add("waiting", needs=["nothing"])
    scan.start()
    pid = scan.until("web", "ready")["pid"]
    scan.until("worker-with-a-long-name", "backoff")
    answer = scan.run("status")
    assert answer.returncode == 0, answer.stderr
    head, *rows, foot = answer.stdout.splitlines()
    assert head.split() == ["NAME", "STATE", "PID", "FOR", "READY", "DEATHS", "REASON"]
    table = {row.split()[0]: row for row in rows}
    assert re.fullmatch(rf"web +ready +{pid} +\d+\.\ds +yes +0", table["web"])
    assert re.search(r" backoff +- .* no +1 .*3", table["worker-with-a-long-name"])
    assert "nothing" in table["waiting"]
    # Every column begins below its heading.
    for row in rows:
        assert row[head.index("STATE") - 1] == " "
        assert row[head.index("STATE")] != " "
        assert row[head.index("DEATHS")].isdigit()
    assert scan.process is not None
    assert str(scan.process.pid) in foot
    assert "\x1b" not in answer.stdout


def test_status_is_sorted_whatever_came_first(scan: Scan) -> None:
    scan.add("web")
    scan.start()
    scan.until("web", "ready")
    scan.add("database")
    scan.call("Rescan")
    scan.until("database", "ready")
    rows = scan.run("status").stdout.splitlines()[1:-1]
    assert [row.split()[0] for row in rows] == ["database", "web"]
    rows = scan.run("status", "web", "database").stdout.splitlines()[1:-1]
    assert [row.split()[0] for row in rows] == ["web", "database"]


def test_status_of_named_services(scan: Scan) -> None:
    for name in ("a", "b", "c"):
        scan.add(name)
    scan.start()
    answer = scan.run("status", "c", "a")
    assert [row.split()[0] for row in answer.stdout.splitlines()[1:-1]] == ["c", "a"]
    answer = scan.run("status", "a", "nobody")
    assert answer.returncode == 4
    assert answer.stderr == "holdfast: nobody: no such service\n"


def test_status_for_programs(scan: Scan) -> None:
    scan.add("a")
    scan.start()
    scan.until("a", "ready")
    answer = json.loads(scan.run("status", "--json").stdout)
    assert scan.process is not None
    assert answer["supervisor"]["pid"] == scan.process.pid
    assert [(service["name"], service["state"]) for service in answer["services"]] == [("a", "ready")]


@pytest.mark.parametrize(("made", "name"), [(".s6/one", "s6"), (".systemd/settings.json", "systemd")])
@pytest.mark.parametrize("words", [("status",), ("restart", "one"), ("stop", "--all"), ("why", "one")])
def test_nothing_is_said_of_what_another_supervisor_has(
    scan: Scan, made: str, name: str, words: tuple[str, ...]
) -> None:
    scan.add("one")
    path = Path(scan.path) / made
    path.parent.mkdir()
    path.touch()
    answer = scan.run(*words)
    assert (answer.returncode, answer.stdout) == (3, "")
    assert f"supervised by {name}" in answer.stderr


def test_what_a_dead_supervisor_has_left_is_stopped_where_another_has_the_rest(scan: Scan) -> None:
    scan.add("one")
    scan.start()
    pid = scan.until("one", "ready")["pid"]
    scan.kill_supervisor()
    (Path(scan.path) / ".s6").mkdir()
    answer = scan.run("stop", "--all")
    assert answer.returncode == 0 and "one: pid" in answer.stdout
    assert not procs.alive(pid)
    assert scan.run("stop", "--all").returncode == 3


def test_status_without_a_supervisor(scan: Scan) -> None:
    scan.add("a")
    scan.add("b", files={"down": ""})
    answer = scan.run("status")
    assert answer.returncode == 3
    assert "no supervisor" in answer.stderr
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    scan.kill_supervisor()
    answer = scan.run("status")
    assert answer.returncode == 3
    assert re.search(rf"^a +orphan +{pid} ", answer.stdout, re.MULTILINE)
    assert re.search(r"^b +down ", answer.stdout, re.MULTILINE)
    reports = {service["name"]: service for service in json.loads(scan.run("status", "--json").stdout)["services"]}
    assert reports["a"]["pid"] == pid


def terminal(scan: Scan, *arguments: str, **environment: str) -> str:
    """What the command shows on a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        scan.command(*arguments),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm", "HOLDFAST_SCAN": str(scan.path), **environment},
    )
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 65536):
            shown += data
    except OSError:
        # How Linux says that the other end was closed.
        pass
    os.close(ours)
    process.wait(30)
    return shown.decode()


def test_colours_on_a_terminal_only(scan: Scan) -> None:
    scan.add("a")
    scan.start()
    scan.until("a", "ready")
    assert "\x1b[32mready" in terminal(scan, "status")
    assert "\x1b" not in terminal(scan, "status", NO_COLOR="1")
    assert "\x1b" not in terminal(scan, "status", TERM="dumb")


def test_start_and_stop_tell_the_verdict(scan: Scan) -> None:
    scan.add("a", files={"down": ""})
    scan.start()
    scan.until("a", "down")
    answer = scan.run("start", "a")
    assert answer.returncode == 0, answer.stderr
    pid = scan.service("a")["pid"]
    assert answer.stdout == f"a: ready, pid {pid}\n"
    answer = scan.run("stop", "a")
    assert (answer.returncode, answer.stdout) == (0, "a: down\n")
    assert not procs.alive(pid)


def test_restart_of_several(scan: Scan) -> None:
    for name in ("a", "b", "c"):
        scan.add(name)
    scan.start()
    before = {name: scan.until(name, "ready")["pid"] for name in ("a", "b", "c")}
    answer = scan.run("restart", "a", "b")
    assert answer.returncode == 0, answer.stderr
    after = {name: report["pid"] for name, report in scan.services().items()}
    assert after["a"] != before["a"]
    assert after["b"] != before["b"]
    assert after["c"] == before["c"]


def test_reload(scan: Scan) -> None:
    directory = scan.add("a", "#!/bin/sh\ntrap 'echo hup >>heard' HUP\necho >&3\nwhile :; do sleep 0.01; done\n",
                         readiness={"notification_fd": 3})  # fmt: skip
    scan.start()
    scan.until("a", "ready")
    answer = scan.run("reload", "a")
    assert answer.returncode == 0, answer.stderr
    wait_until((directory / "heard").exists)


def test_once(scan: Scan) -> None:
    scan.add("good", "#!/bin/sh\nexit 0\n", files={"down": ""}, readiness={"grace": LONG, "timeout": 2 * LONG})
    scan.add("bad", "#!/bin/sh\necho because of this\nexit 3\n", files={"down": ""}, log=log(scan, "bad"),
             readiness={"grace": LONG, "timeout": 2 * LONG})  # fmt: skip
    scan.start()
    scan.until("bad", "down")
    answer = scan.run("once", "good")
    assert (answer.returncode, answer.stdout) == (0, "good: done, exit code 0\n"), answer.stderr
    answer = scan.run("once", "bad")
    assert answer.returncode == 1
    assert "3" in answer.stderr


def test_a_start_that_fails_shows_why(scan: Scan) -> None:
    scan.add(
        "a",
        "#!/bin/sh\necho cannot open the database\nexit 5\n",
        files={"down": ""},
        log=log(scan, "a"),
        readiness={"grace": LONG, "timeout": 2 * LONG},
    )
    scan.start()
    scan.until("a", "down")
    scan.run("start", "--no-wait", "a")
    current = scan.base / "log" / "a" / "current"
    wait_until(lambda: current.exists() and "database" in current.read_text())
    answer = scan.run("start", "a")
    assert answer.returncode == 1
    first, *rest = answer.stderr.splitlines()
    assert first.startswith("a: failed: ")
    assert "5" in first
    assert "  cannot open the database" in rest


def test_a_start_that_takes_too_long(scan: Scan) -> None:
    scan.add("a", readiness={"grace": LONG, "timeout": 2 * LONG})
    scan.start()
    answer = scan.run("start", "--timeout", "0.1", "a")
    assert answer.returncode == 1
    assert answer.stderr.startswith("a: not in time: up")


def test_no_wait(scan: Scan) -> None:
    scan.add("a", files={"down": ""}, readiness={"grace": LONG, "timeout": 2 * LONG})
    scan.start()
    answer = scan.run("start", "--no-wait", "a")
    assert (answer.returncode, answer.stdout) == (0, "")
    scan.until("a", "up")


def test_a_name_that_does_not_exist_changes_nobody(scan: Scan) -> None:
    scan.add("a")
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    answer = scan.run("stop", "a", "nobody")
    assert answer.returncode == 4
    assert scan.service("a")["pid"] == pid


def test_a_service_that_was_made_just_now_is_known(scan: Scan) -> None:
    scan.start()
    scan.add("a")
    assert scan.run("start", "a").returncode == 0


def test_check(scan: Scan) -> None:
    scan.add("a")
    scan.add("b", needs=["nothing"])
    scan.start()
    scan.until("a", "ready")
    assert scan.run("check", "a").returncode == 0
    answer = scan.run("check", "b")
    assert answer.returncode == 1
    assert answer.stdout.startswith("b: not ready: waiting (needs nothing")
    assert scan.run("check", "nobody").returncode == 4


def test_why(scan: Scan) -> None:
    scan.add("a", "#!/bin/sh\nexit 7\n", restart="never")
    scan.start()
    scan.until("a", "down")
    answer = scan.run("why", "a")
    assert answer.returncode == 0
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  exit .*7", answer.stdout, re.MULTILINE)
    assert answer.stdout.splitlines()[-1].startswith("a: down for ")
    events = json.loads(scan.run("why", "--json", "-n", "1", "a").stdout)["events"]
    assert len(events) == 1


def write_log(directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory / ("@" + "0" * 24 + ".s")).write_text("one\ntwo\n")
    (directory / ("@" + "1" * 24 + ".u")).write_text("three\n")
    (directory / "current").write_text("four\nfive\n")


@pytest.mark.parametrize(
    ("count", "lines"),
    [("0", []), ("1", ["five"]), ("3", ["three", "four", "five"]), ("99", ["one", "two", "three", "four", "five"])],
)
def test_logs_go_back_into_rotated_files_and_need_no_supervisor(scan: Scan, count: str, lines: list[str]) -> None:
    scan.add("a", log=log(scan, "a"))
    write_log(scan.base / "log" / "a")
    answer = scan.run("logs", "-n", count, "a")
    assert (answer.returncode, answer.stdout.split()) == (0, lines)


def test_logs_that_are_not_there(scan: Scan) -> None:
    scan.add("a", log=log(scan, "a"))
    scan.add("b", log={"to": "syslog"})
    scan.add("c", plain=True)
    for name in ("a", "b", "c"):
        answer = scan.run("logs", name)
        assert answer.returncode == 1
        assert len(answer.stderr.splitlines()) == 1
    assert "syslog" in scan.run("logs", "b").stderr
    assert scan.run("logs", "nobody").returncode == 4


def test_logs_follow_over_a_rotation(scan: Scan) -> None:
    scan.add("a", log=log(scan, "a"))
    directory = scan.base / "log" / "a"
    write_log(directory)
    ours, theirs = os.pipe()
    process = subprocess.Popen(
        scan.command("logs", "--scan", str(scan.path), "-n", "1", "-f", "a"),
        stdout=theirs,
        # Whoever runs the tests in the background may ignore it, and that would be inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    os.close(theirs)
    shown = b""

    def until_shown(text: bytes) -> None:
        nonlocal shown
        while len(shown) < len(text):
            assert select.select([ours], [], [], 30)[0], shown
            shown += os.read(ours, 65536)
        assert shown == text

    try:
        until_shown(b"five\n")
        with (directory / "current").open("a") as current:
            current.write("six\n")
            current.flush()
            until_shown(b"five\nsix\n")
            current.write("seven\n")
        (directory / "current").rename(directory / ("@" + "2" * 24 + ".s"))
        (directory / "current").write_text("eight\n")
        until_shown(b"five\nsix\nseven\neight\n")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_logs_cannot_steer_a_terminal(scan: Scan) -> None:
    scan.add("a", log=log(scan, "a"))
    directory = scan.base / "log" / "a"
    directory.mkdir()
    (directory / "current").write_text("evil \x1b]0;title\x07\ttext ü\n")
    shown = terminal(scan, "logs", "a", LC_ALL="C.UTF-8")
    assert "\x1b" not in shown
    assert "evil \\x1b]0;title\\x07\ttext ü" in shown
    assert scan.run("logs", "a").stdout == "evil \x1b]0;title\x07\ttext ü\n"


def test_stop_all_keeps_the_order_and_the_supervisor(scan: Scan) -> None:
    run = "#!/bin/sh\ntrap 'echo {0} >>../../order; exit 0' TERM\nsleep 100000 &\necho >&3\nwait\n"
    scan.add("db", run.format("db"), readiness={"notification_fd": 3})
    scan.add("app", run.format("app"), readiness={"notification_fd": 3}, needs=["db"])
    scan.add("web", run.format("web"), readiness={"notification_fd": 3}, needs=["app"])
    pid = scan.start()
    scan.until("web", "ready")
    answer = scan.run("stop", "--all")
    assert answer.returncode == 0, answer.stderr
    assert (scan.base / "order").read_text().split() == ["web", "app", "db"]
    assert scan.call("Status")["supervisor"]["pid"] == pid
    assert scan.run("start", "--all").returncode == 0
    assert {report["state"] for report in scan.services().values()} == {"ready"}


def test_start_all_does_no_work_twice(scan: Scan) -> None:
    job = scan.add("job", "#!/bin/sh\necho run >>ran\n", restart="on_failure")
    periodic = scan.add("periodic", "#!/bin/sh\necho run >>ran\n", type="periodic", interval=LONG)
    scan.add("stopped", files={"down": ""})
    scan.add("up")
    scan.start()
    scan.until("job", "down")
    scan.until("periodic", "scheduled")
    pid = scan.until("up", "ready")["pid"]
    answer = scan.run("start", "--all")
    assert (answer.returncode, answer.stdout) == (0, "nothing to do\n"), answer.stderr
    assert scan.service("stopped")["state"] == "down"
    assert scan.run("stop", "--all").returncode == 0
    assert {report["state"] for report in scan.services().values()} == {"down"}
    answer = scan.run("start", "--all")
    assert answer.returncode == 0, answer.stderr
    scan.until("up", "ready")
    assert scan.service("up")["pid"] != pid
    assert scan.service("stopped")["state"] == "down"
    wait_until(lambda: (job / "ran").read_text() == (periodic / "ran").read_text() == "run\nrun\n")


@pytest.mark.parametrize("option", ["--all", "--orphans"])
def test_stop_when_the_supervisor_is_dead(scan: Scan, option: str) -> None:
    run = "#!/bin/sh\ntrap 'echo {0} >>../../order; exit 0' TERM\nsleep 100000 &\necho >&3\nwait\n"
    scan.add("db", run.format("db"), readiness={"notification_fd": 3}, log=log(scan, "db"))
    scan.add("app", run.format("app"), readiness={"notification_fd": 3}, needs=["db"])
    scan.start()
    scan.until("app", "ready")
    scan.kill_supervisor()
    answer = scan.run("stop", option)
    assert answer.returncode == 0, answer.stderr
    assert [line.split(":")[0] for line in answer.stdout.splitlines()] == ["app", "db", "log writer"]
    assert (scan.base / "order").read_text().split() == ["app", "db"]
    wait_until(lambda: scan.processes() == [])
    assert scan.run("stop", option).stdout == "nothing was left running\n"


def test_orphans_that_do_not_listen_are_killed_with_their_group(scan: Scan) -> None:
    scan.add("a", "#!/bin/sh\ntrap '' TERM\nsh -c 'while :; do sleep 0.01; done' &\necho >&3\nwhile :; do sleep 0.01; done\n",
             stop_timeout=0.1, readiness={"notification_fd": 3})  # fmt: skip
    scan.start()
    scan.until("a", "ready")
    scan.kill_supervisor()
    answer = scan.run("stop", "--orphans")
    assert answer.returncode == 0, answer.stderr
    assert "killed" in answer.stdout
    wait_until(lambda: scan.processes() == [])


def test_an_orphan_that_is_paused_is_stopped(scan: Scan) -> None:
    scan.add("a", stop_timeout=LONG)
    scan.start()
    scan.until("a", "ready")
    scan.control("a", "pause")
    scan.kill_supervisor()
    assert scan.run("stop", "--orphans").returncode == 0
    wait_until(lambda: scan.processes() == [])


@contextlib.contextmanager
def ending(scan: Scan) -> Iterator[None]:
    """A former supervisor for a second, as one that ends is seen: it still has the lock of flock, and no longer the other."""
    with open(scan.path / ".holdfast" / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        former = subprocess.Popen(["sleep", "1"], pass_fds=[lock.fileno()])
        lock.write(f"{former.pid}\n")
    with former:
        yield


def test_a_supervisor_that_has_not_quite_ended_is_waited_for(scan: Scan) -> None:
    scan.add("a")
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    scan.kill_supervisor()
    with ending(scan):
        scan.start()
    assert scan.until("a", "ready")["pid"] == pid
    scan.kill_supervisor()
    with ending(scan):
        answer = scan.run("stop", "--orphans")
    assert answer.returncode == 0, answer.stderr
    assert not procs.alive(pid)


def test_orphans_of_a_living_supervisor_are_none(scan: Scan) -> None:
    scan.add("a")
    scan.start()
    pid = scan.until("a", "ready")["pid"]
    answer = scan.run("stop", "--orphans")
    assert answer.returncode == 1
    assert "a supervisor runs" in answer.stderr
    assert procs.alive(pid)


def test_a_process_that_took_over_a_pid_is_left_alone(scan: Scan) -> None:
    from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._embedded import record

    directory = scan.add("a")
    scan.start()
    service = scan.until("a", "ready")["pid"]
    scan.kill_supervisor()
    procs.kill(service)
    path = str((directory / "supervise" / "record").resolve())
    left = record.read(path)
    assert left is not None
    with subprocess.Popen(["sleep", "100000"]) as stranger:
        try:
            left.pid = stranger.pid
            record.write(path, left)
            assert scan.run("stop", "--orphans").stdout == "nothing was left running\n"
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_selftest(scan: Scan) -> None:
    scan.add("a")
    answer = scan.run("selftest")
    assert (answer.returncode, answer.stdout) == (0, "ok\n"), answer.stderr
    scan.start()
    scan.until("a", "ready")
    assert scan.run("selftest", str(scan.path)).returncode == 0
    (scan.path / "a" / "supervise" / "record").write_bytes(b"of another version")
    answer = scan.run("selftest", str(scan.path))
    assert answer.returncode == 1
    assert "record" in answer.stderr


def test_version_and_help(scan: Scan) -> None:
    scan.start()
    answer = scan.run("version")
    assert answer.returncode == 0
    mine, running = answer.stdout.splitlines()
    assert mine == f"holdfast {scan.runtime.name}"
    assert running.endswith(f": {scan.runtime.name}")
    answer = scan.run("help")
    assert answer.returncode == 0
    for verb in ("status", "start", "stop", "restart", "reload", "once", "logs", "check", "why", "selftest"):
        assert verb in answer.stdout
    assert "--orphans" in scan.run("help", "stop").stdout


@pytest.mark.parametrize(
    ("verb", "word"),
    [
        ("start", "--no-wait"),
        ("guard", "--containment"),
        ("hold", "--owner"),
        ("register", "--note"),
        ("helper", "--check"),
        ("supervise", "--exit-with"),
        ("logwriter", "TABLE"),
        ("operate", "OPERATION"),
        ("step", "STEP"),
    ],
)
def test_every_verb_is_explained(scan: Scan, verb: str, word: str) -> None:
    options = () if verb in ("operate", "step") else ((verb, "--help"), (verb, "-h"))
    for words in (("help", verb), *options):
        answer = scan.run(*words)
        assert (answer.returncode, answer.stderr) == (0, ""), words
        assert word in answer.stdout, words


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["explode"], ["start"], ["stop"], ["stop", "--all", "a"], ["stop", "--all", "--orphans"], ["logs"],
        ["start", "--timeout", "soon", "a"], ["logs", "-n", "-1", "a"], ["status", "--nonsense"], ["--scan"],
        ["--scan", "/nonexistent", "status"],
    ],
)  # fmt: skip
def test_wrong_usage(scan: Scan, arguments: list[str]) -> None:
    answer = scan.run(*arguments)
    assert answer.returncode == 2
    assert answer.stderr
    assert "Traceback" not in answer.stderr


def test_the_scan_directory_by_option_and_by_environment(scan: Scan) -> None:
    scan.add("a")
    scan.start()
    scan.until("a", "ready")
    elsewhere = {"HOLDFAST_SCAN": str(scan.base)}
    assert scan.run("--scan", str(scan.path), "check", "a", environment=elsewhere).returncode == 0
    assert scan.run("check", "--scan", str(scan.path), "a", environment=elsewhere).returncode == 0
    assert scan.run("check", "a", environment=elsewhere).returncode == 3


def test_a_reader_that_goes_away_early(scan: Scan) -> None:
    scan.add("a", log=log(scan, "a"))
    directory = scan.base / "log" / "a"
    directory.mkdir()
    (directory / "current").write_text("line\n" * 100000)
    ours, theirs = os.pipe()
    with subprocess.Popen(
        scan.command("logs", "--scan", str(scan.path), "-n", "100000", "a"), stdout=theirs, stderr=subprocess.PIPE
    ) as process:
        os.close(theirs)
        select.select([ours], [], [], 30)
        os.close(ours)
        assert process.stderr is not None
        assert process.stderr.read() == b""
        process.wait(30)


def test_daemons_do_not_load_what_only_people_need(scan: Scan) -> None:
    scan.start()
    assert scan.process is not None
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import holdfast._command.main\n"
        "print(sorted(set(sys.modules) & {'argparse', 'holdfast._command.people', 'holdfast._command.arguments'}))"
    )
    answer = subprocess.run(
        ["/usr/bin/python3", "-I", "-S", "-c", program, str(scan.runtime)],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert answer.stdout == "[]\n"
