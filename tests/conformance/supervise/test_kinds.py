# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services that are no program which stays: what is done once and undone, and a login on a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conforming import Supervised, features, sh
from converging import SLEEP
from waiting import wait_until

# Of <asm-generic/ioctls.h>: unlock a pseudo terminal, give its number, hang it up.
TIOCSPTLCK, TIOCGPTN, TIOCVHANGUP = 0x40045431, 0x80045430, 0x5437


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def bridge(marks: Path, number: str = "", **others: Any) -> dict[str, Any]:
    """A oneshot that notes what it does."""
    up, down = (sh(f"echo {word}{number} >>{marks}") for word in ("up", "down"))
    return {"type": "oneshot", "command": up, "stop_command": down, "readiness": {"timeout": "20s"}, **others}


@features("oneshot")
def test_a_oneshot_is_done_once_and_up_until_it_is_undone(host: Supervised) -> None:
    marks = host.base / "marks"
    assert host.good({"bridge": bridge(marks)})["services"]["bridge"]["state"] == "ready"
    assert not host.good({"bridge": bridge(marks)})["changed"]
    assert lines(marks) == ["up"]
    assert host.tell("bridge", "stop", "down").outcome == "reached"
    assert lines(marks) == ["up", "down"]
    assert host.tell("bridge", "start").outcome == "reached"
    # Undone as it was done, then done as it is to be.
    changed = {"bridge": bridge(marks, "-2")}
    assert host.good(changed)["actions"] == ["bridge: update", "bridge: restart"]
    assert lines(marks)[2:] == ["up", "down", "up-2"]
    assert not host.good(changed)["changed"]
    host.good({}, prune=True)
    assert lines(marks)[5:] == ["down-2"]


@features("oneshot", "log.directory")
def test_a_oneshot_that_fails_fails_the_task_and_is_not_undone(host: Supervised) -> None:
    marks, go = host.base / "marks", host.base / "go"
    command = sh(f"echo try >>{marks}; echo no bridge here >&2; [ -e {go} ] || exit 3")
    definition = {"bridge": bridge(marks, command=command)}
    result = host.task(definition)
    assert result["failed"] and "exit code 3" in result["msg"] and "no bridge here" in result["msg"]
    service = host.until("bridge", "down")
    assert not service.pid and lines(marks) == ["try"]
    # The next run tries again.
    go.touch()
    assert host.good(definition)["services"]["bridge"]["state"] == "ready"
    assert lines(marks) == ["try", "try"]


@features("oneshot", "log.directory")
def test_a_oneshot_that_takes_too_long_is_ended(host: Supervised) -> None:
    marks = host.base / "marks"
    definition = bridge(marks, command=sh(f"sleep 100000 # {marks}"), readiness={"timeout": "500ms"})
    result = host.task({"bridge": definition})
    assert result["failed"] and "not done within 0.5 s" in result["msg"]
    host.until("bridge", "down")
    assert lines(marks) == []
    wait_until(lambda: not host.pids(str(marks)))


@features("oneshot", "restart")
def test_a_oneshot_is_tried_again_if_it_is_to_be(host: Supervised) -> None:
    marks = host.base / "marks"
    command = sh(f"echo try >>{marks}; [ $(wc -l <{marks}) -ge 2 ]")
    definition = {"bridge": bridge(marks, command=command, restart="on_failure")}
    assert host.good(definition)["services"]["bridge"]["state"] == "ready"
    assert lines(marks) == ["try", "try"]
    assert not host.good(definition)["changed"]
    assert host.tell("bridge", "stop", "down").outcome == "reached"
    assert lines(marks) == ["try", "try", "down"]


@features("oneshot")
def test_a_oneshot_that_is_stopped_in_the_middle_is_ended_and_not_undone(host: Supervised) -> None:
    marks = host.base / "marks"
    command = sh(f"echo half >>{marks}; sleep 100000; echo up >>{marks}")
    assert host.task({"bridge": bridge(marks, command=command)}, timeout=1.0)["failed"]
    wait_until(lambda: lines(marks) == ["half"])
    assert host.tell("bridge", "stop", "down").outcome == "reached"
    assert lines(marks) == ["half"]
    wait_until(lambda: not host.pids(str(marks)))


@features("oneshot", "needs")
def test_what_needs_a_oneshot_is_started_when_it_is_done(host: Supervised) -> None:
    marks, go = host.base / "marks", host.base / "go"
    command = sh(f"while [ ! -e {go} ]; do sleep 0.02; done; echo up >>{marks}")
    definitions = {
        "rules": bridge(marks, "-rules", needs=["bridge"]),
        "front": {"command": sh(f"echo front >>{marks}; exec sleep 100000"), "needs": ["rules"]},
        "bridge": bridge(marks, command=command),
    }
    host.task(definitions, timeout=1.0)
    assert host.until("front", "waiting").pid is None
    go.touch()
    host.until("front", "ready")
    # Ready by its time of grace.
    wait_until(lambda: lines(marks) == ["up", "up-rules", "front"])
    assert not host.good(definitions)["changed"]


@features("oneshot", "periodic", "needs", "readiness.notification_fd")
def test_services_of_every_type_wait_for_what_they_need(host: Supervised) -> None:
    marks, go = host.base / "marks", host.base / "go"
    ready = sh(f"while [ ! -e {go} ]; do sleep 0.02; done; echo back >>{marks}; echo >&3; exec sleep 100000")
    beat = {"type": "periodic", "interval": "1h", "command": sh(f"echo beat >>{marks}")}
    definitions = {
        "beat": {**beat, "needs": ["back", "bridge"]},
        "front": {"command": sh(f"echo front >>{marks}; exec sleep 100000"), "needs": ["back", "bridge"]},
        "bridge": bridge(marks, "-bridge", needs=["back"]),
        "back": {"command": ready, "readiness": {"notification_fd": 3}},
    }
    host.task(definitions, timeout=1.0)
    for name in ("beat", "front", "bridge"):
        assert host.until(name, "waiting").pid is None
    go.touch()
    host.until("front", "ready")
    host.until("beat", "scheduled")
    wait_until(lambda: len(lines(marks)) >= 4)
    assert lines(marks)[:2] == ["back", "up-bridge"] and sorted(lines(marks)[2:]) == ["beat", "front"]
    assert not host.good(definitions)["changed"]


@features("oneshot")
def test_a_killed_supervisor_does_not_do_a_oneshot_a_second_time(host: Supervised) -> None:
    if host.process_one:
        pytest.skip("the root process is that of the host")
    marks = host.base / "marks"
    host.good({"bridge": bridge(marks)})
    host.kill()
    host.start()
    if host.adopts:
        host.until("bridge", "ready")
        assert lines(marks) == ["up"]
    else:
        # Undone first: it is never done twice in a row.
        wait_until(lambda: lines(marks) == ["up", "down", "up"])


@features("oneshot", "needs")
def test_a_oneshot_is_done_again_after_a_boot_before_what_needs_it(host: Supervised) -> None:
    marks = host.base / "marks"
    front = {"command": sh(f"echo front >>{marks}; exec sleep 100000"), "needs": ["bridge"]}
    host.good({"front": front, "bridge": bridge(marks)})
    wait_until(lambda: lines(marks) == ["up", "front"])
    host.reboot()
    # An orderly stop has undone it; a power cut has not.
    wait_until(lambda: [line for line in lines(marks) if line != "down"] == ["up", "front"] * 2)
    assert host.until("bridge", "ready").pid


@pytest.mark.skipif(os.geteuid() != 0, reason="a guard needs root")
@features("oneshot", "lease")
def test_a_oneshot_holds_its_lease_while_it_is_up(host: Supervised) -> None:
    marks, state = host.base / "marks", host.base / "run" / "guards" / "bridge"
    lease = {"directory": str(host.base / "leases"), "safety": "standard"}
    host.good({"bridge": bridge(marks, lease=lease)})
    wait_until(lambda: lines(marks) == ["up"])
    assert list(state.iterdir())
    assert host.tell("bridge", "stop", "down").outcome == "reached"
    assert lines(marks) == ["up", "down"]


class Terminal:
    """A pseudo terminal of the host: the service has the device, the test is who sits there."""

    def __init__(self, host: Supervised) -> None:
        self.master = os.open(f"{host.top()}/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        fcntl.ioctl(self.master, TIOCSPTLCK, struct.pack("i", 0))
        (number,) = struct.unpack("i", fcntl.ioctl(self.master, TIOCGPTN, bytes(4)))
        self.device = f"/dev/pts/{number}"
        self.path = host.top() + self.device
        self.slave = os.open(self.path, os.O_RDWR | os.O_NOCTTY)
        self.text = ""

    def read(self) -> str:
        with contextlib.suppress(OSError):
            self.text += os.read(self.master, 4096).decode(errors="replace")
        return self.text

    def until(self, pattern: str) -> None:
        wait_until(lambda: re.search(pattern, self.read()), message=f"no {pattern}: {self.text!r}")
        self.text = ""

    def hang_up(self) -> None:
        fcntl.ioctl(self.slave, TIOCVHANGUP)
        # What was open is of no use any more.
        os.close(self.slave)
        self.slave = os.open(self.path, os.O_RDWR | os.O_NOCTTY)

    def close(self) -> None:
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal(host: Supervised) -> Iterator[Terminal]:
    one = Terminal(host)
    yield one
    one.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="agetty needs root")
@features("getty")
def test_a_getty_asks_who_is_there_again_and_again(host: Supervised, terminal: Terminal) -> None:
    definition = {"login": {"type": "getty", "tty": terminal.device}}
    host.good(definition)
    terminal.until("login: ")
    assert not host.good(definition)["changed"]
    before = host.service("login").pid
    terminal.hang_up()
    terminal.until("login: ")
    wait_until(lambda: host.service("login").pid not in (None, before))
    assert host.tell("login", "stop", "down").outcome == "reached"


@pytest.mark.skipif(os.geteuid() != 0, reason="a terminal of root's")
@features("getty")
def test_another_program_than_agetty_gets_the_terminal_too(host: Supervised, terminal: Terminal) -> None:
    command = sh('read -r line </dev/tty; echo "$(tty): $line"; exec sleep 100000')
    host.good({"kiosk": {"type": "getty", "tty": terminal.device, "command": command}, "other": {"command": SLEEP}})
    os.write(terminal.master, b"hello\n")
    terminal.until(f"{terminal.device}: hello")
    assert host.tell("kiosk", "stop", "down").outcome == "reached"
