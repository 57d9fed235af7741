# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs that can only go to the background (`type: forking`)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from typing import Any

import procs
import pytest
from converging import Host
from waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root")


def definition(host: Host, script: str, **more: Any) -> dict[str, Any]:
    """A service that goes to the background by itself; $1 is its pid file."""
    pid_file = f"{host.base}/pid"
    command = ["/bin/sh", "-c", script, "sh", pid_file]
    return {"one": {"type": "forking", "pid_file": pid_file, "command": command, **more}}


def background(host: Host, program: str = "sleep 100000") -> str:
    """A script that leaves *program*, which can be told by where it is, in a session of its own."""
    return f'cd {host.base}/place; setsid {program} & echo $! >"$1"'


@pytest.fixture(autouse=True)
def place(host: Host) -> None:
    (host.base / "place").mkdir()


def there(host: Host) -> list[int]:
    return procs.living_in(host.base / "place")


def converge(host: Host, definitions: dict[str, Any]) -> dict[str, Any]:
    result = host.task(definitions)
    assert not result.get("failed"), result["msg"]
    return result


def test_what_it_leaves_in_the_background_is_the_service(host: Host) -> None:
    service = definition(host, background(host))
    converge(host, service)
    wait_until(lambda: len(there(host)) == 1)
    assert converge(host, service)["changed"] is False
    assert host.status()["one"]["state"] == "ready"
    host.call("Control", commands=[{"name": "one", "action": "stop"}])
    wait_until(lambda: host.status()["one"]["state"] == "down")
    assert not there(host)


def test_when_it_dies_it_is_started_again(host: Host) -> None:
    converge(host, definition(host, background(host)))
    wait_until(lambda: len(there(host)) == 1)
    (first,) = there(host)
    procs.kill(first)
    wait_until(lambda: there(host) not in ([], [first]))
    assert len(there(host)) == 1
    assert host.status()["one"]["exit"]["code"] == 128 + signal.SIGKILL


def test_its_end_is_that_of_the_process_in_the_background(host: Host) -> None:
    converge(host, definition(host, background(host, "sh -c 'sleep 0.3; exit 7'"), restart="never"))
    wait_until(lambda: host.status()["one"]["state"] == "down")
    assert host.status()["one"]["exit"]["code"] == 7


def test_nothing_of_it_outlives_a_killed_guard(host: Host) -> None:
    converge(host, definition(host, background(host)))
    wait_until(lambda: len(there(host)) == 1)
    (first,) = there(host)
    procs.kill(host.status()["one"]["pid"])
    wait_until(lambda: there(host) not in ([], [first]))
    assert len(there(host)) == 1


def test_a_supervisor_that_was_killed_finds_it_again(host: Host) -> None:
    converge(host, definition(host, background(host)))
    wait_until(lambda: len(there(host)) == 1)
    before = there(host)
    host.kill()
    host.start()
    assert host.status()["one"]["state"] in ("up", "ready")
    assert there(host) == before


@pytest.mark.parametrize(
    "script",
    [
        "sleep 100000 & true",
        'echo 1 >"$1"; sleep 100000 &',
        'echo 999999 >"$1"; sleep 100000 &',
        'echo words >"$1"; sleep 100000 &',
        'ln -s /etc/passwd "$1"; sleep 100000 &',
        'mkfifo "$1"; sleep 100000 &',
        'setsid sh -c "sleep 100000 & echo \\$! >\\"$1\\"; wait" & until [ -s "$1" ]; do sleep 0.01; done',
        'echo $$ >"$1"',
    ],
    ids=["no file", "init", "nobody", "words", "link", "fifo", "grandchild", "itself"],
)
def test_one_that_does_not_say_which_process_it_is_fails_and_is_gone(host: Host, script: str) -> None:
    service = definition(host, f"cd {host.base}/place; {script}", restart="never")
    result = host.task(service, timeout=15)
    assert result["failed"]
    assert "names no process that it left in the background" in result["msg"]
    wait_until(lambda: not there(host))


def test_a_command_that_fails_is_no_service(host: Host) -> None:
    result = host.task(definition(host, "echo broken; exit 3", restart="never"), timeout=15)
    assert result["failed"] and "3" in result["msg"]


def test_an_old_pid_file_misleads_nobody(host: Host) -> None:
    """In a pid namespace the numbers are small, and come again: 1 is init, 2 the command, 3 what it starts first."""
    (host.base / "pid").write_text("3\n")
    result = host.task(definition(host, f"cd {host.base}/place; sleep 100000 &", restart="never"), timeout=15)
    assert result["failed"] and "names no process" in result["msg"]


def test_it_is_ready_when_it_is_in_the_background(host: Host) -> None:
    go = host.base / "go"
    script = f'cd {host.base}/place; until [ -e {go} ]; do sleep 0.02; done; setsid sleep 100000 & echo $! >"$1"'
    result = host.task(definition(host, script), timeout=1)
    assert result["failed"]
    assert host.status()["one"]["state"] == "up"
    go.touch()
    wait_until(lambda: host.status()["one"]["state"] == "ready")


def test_one_that_stays_because_its_parent_is_an_init_is_the_service_itself(host: Host) -> None:
    converge(host, definition(host, f'cd {host.base}/place; echo $$ >"$1"; exec sleep 100000'))
    assert host.status()["one"]["state"] == "ready"
    assert len(there(host)) == 1


def test_an_ssh_server_is_found(host: Host) -> None:
    key, pid_file = host.base / "key", host.base / "sshd.pid"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=30)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"HostKey={key}", f"PidFile={pid_file}", "ListenAddress=127.0.0.1", f"Port={port}", "UsePAM=no"]
    words = ["/usr/sbin/sshd", "-f", "/dev/null", *(f"-o{option}" for option in options)]
    service = {"type": "forking", "pid_file": str(pid_file), "command": words, "runtime_directories": ["/run/sshd"]}
    converge(host, {"ssh": service})
    with socket.create_connection(("127.0.0.1", port), 10) as peer:
        assert peer.recv(8) == b"SSH-2.0-"
    assert pid_file.exists()
    host.call("Control", commands=[{"name": "ssh", "action": "stop"}])
    wait_until(lambda: host.status()["ssh"]["state"] == "down")
    assert host.status()["ssh"]["exit"]["code"] == 0
