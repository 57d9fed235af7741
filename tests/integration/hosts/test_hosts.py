# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test hosts themselves: do they behave like machines, and does nothing of them stay?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import typing as t
import uuid
from pathlib import Path

import pytest
from waiting import wait_until

if t.TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="test hosts are made of namespaces, which needs root")

HOSTS = Path(__file__).resolve().parents[2] / "hosts" / "hosts.py"
BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Lab:
    """A lab of a test, used through the command line as people do."""

    def __init__(self) -> None:
        self.name = f"test-{uuid.uuid4().hex[:10]}"
        self.directory = Path(tempfile.gettempdir()) / "holdfast-hosts" / self.name

    def command(self, *words: str) -> list[str]:
        return [sys.executable, os.fspath(HOSTS), "--lab", self.name, *words]

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), input=stdin, capture_output=True, text=True, timeout=120, check=False
        )

    def do(self, *words: str) -> str:
        """Run a command that must succeed; what it printed, without the last newline."""
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout.rstrip("\n")

    def refused(self, *words: str) -> str:
        """Run a command that must fail; the one line that it says."""
        done = self.run(*words)
        assert done.returncode == 1
        assert done.stdout == ""
        [line] = done.stderr.splitlines()
        return line

    def states(self) -> dict[str, str]:
        return {line.split()[0]: line.split()[1] for line in self.do("list").splitlines()}

    def reaches(self, host: str) -> bool:
        """Whether the ssh server of the host says its first words to somebody in the lab's network."""
        say = (
            "import socket, sys\n"
            "connection = socket.create_connection((sys.argv[1], 22), 0.5)\n"
            "sys.exit(connection.recv(3) != b'SSH')"
        )
        return self.run("lab", "--", sys.executable, "-c", say, self.address(host)).returncode == 0

    def address(self, host: str) -> str:
        [line] = [line for line in self.do("list").splitlines() if line.split()[0] == host]
        return line.split()[2]

    def traces(self) -> list[str]:
        """Whatever on this machine still has to do with the lab."""
        found = [line for line in Path("/proc/self/mounts").read_text().splitlines() if self.name in line]
        found += [str(path) for path in [self.directory] if path.exists()]
        for process in Path("/proc").glob("[0-9]*"):
            try:
                groups = process.joinpath("cgroup").read_text()
                words = process.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if self.name in groups or self.name in words:
                found.append(f"process {process.name}: {words}")
        for line in Path("/proc/self/mounts").read_text().splitlines():
            if line.split()[2] == "cgroup2":
                found += map(str, Path(line.split()[1]).glob(f"*{self.name}*"))
        return found


@pytest.fixture(scope="session", autouse=True)
def tree() -> None:
    """The root tree, so that its building, once on a machine, does not count as the time of a test."""
    possible = subprocess.run([sys.executable, HOSTS, "check"], capture_output=True, text=True, timeout=60, check=False)
    if possible.returncode != 0:
        pytest.skip(possible.stderr)
    subprocess.run([sys.executable, HOSTS, "tree"], capture_output=True, timeout=900, check=True)


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab without hosts; whatever the test made is gone afterwards."""
    lab = Lab()
    yield lab
    lab.do("down")
    wait_until(lambda: lab.traces() == [])


@pytest.fixture(scope="module")
def pair() -> Iterator[Lab]:
    """Two hosts with systemd, for tests that leave them as they were."""
    lab = Lab()
    lab.do("up", "north", "south")
    yield lab
    lab.do("down")
    wait_until(lambda: lab.traces() == [])


def test_systemd_hosts_boot_without_a_failed_unit(pair: Lab) -> None:
    assert pair.states() == {"north": "on", "south": "on"}
    for name in ("north", "south"):
        assert pair.do("exec", name, "--", "systemctl", "is-system-running") == "running"
        assert pair.do("exec", name, "--", "cat", "/proc/1/comm") == "systemd"
        assert pair.do("exec", name, "--", "hostname") == name


def test_hosts_know_and_reach_each_other(pair: Lab) -> None:
    say = "import socket; print(socket.create_connection(('south', 22), 10).recv(3).decode())"
    assert pair.do("exec", "north", "--", "python3", "-c", say) == "SSH"


def test_hosts_have_an_identity_of_their_own(pair: Lab) -> None:
    for path in ("/etc/machine-id", BOOT_ID):
        assert pair.do("exec", "north", "--", "cat", path) != pair.do("exec", "south", "--", "cat", path)
    assert pair.do("exec", "north", "--", "cat", BOOT_ID) != Path(BOOT_ID).read_text().strip()


def test_exec_passes_input_output_and_exit_code(pair: Lab) -> None:
    done = pair.run("exec", "north", "--", "sh", "-c", "cat; echo oops >&2; exit 7", stdin="hello")
    assert (done.stdout, done.stderr, done.returncode) == ("hello", "oops\n", 7)


def test_exec_starts_with_a_clean_environment(pair: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAKED", "yes")
    words = pair.do("exec", "north", "--", "env").splitlines()
    assert "HOME=/root" in words
    assert "LEAKED=yes" not in words


@pytest.mark.parametrize("user", ["root", "admin", "ordinary"])
def test_ssh_as_each_user(pair: Lab, user: str) -> None:
    assert pair.do("ssh", "south", "--", "-l", user, "id", "-un") == user


def test_only_admin_may_become_root(pair: Lab) -> None:
    assert pair.do("ssh", "south", "--", "-l", "admin", "sudo", "-n", "id", "-un") == "root"
    assert pair.run("ssh", "south", "--", "-l", "ordinary", "sudo", "-n", "id", "-un").returncode == 1


def test_a_host_cannot_change_the_machine(pair: Lab) -> None:
    # Only looks whether it could: a test that tries, and succeeds, would have changed the machine.
    for path in ("/proc/sys/kernel/core_pattern", "/sys/kernel/mm/transparent_hugepage/enabled"):
        assert (
            not os.path.exists(path) or "Read-only" in pair.run("exec", "north", "--", "sh", "-c", f": >>{path}").stderr
        )
    sys_module, sys_rawio, sys_time = 16, 17, 25
    for status in (
        pair.do("exec", "north", "--", "cat", "/proc/1/status"),
        pair.do("exec", "north", "--", "cat", "/proc/self/status"),
        pair.do("ssh", "north", "--", "cat", "/proc/self/status"),
    ):
        for field in ("CapPrm", "CapEff", "CapBnd"):
            [mask] = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(field)]
            assert not any(mask & 1 << capability for capability in (sys_module, sys_rawio, sys_time))


def test_the_inventory_works_from_anywhere(pair: Lab, tmp_path: Path) -> None:
    ansible = Path(sys.executable).with_name("ansible")
    if not ansible.exists():
        pytest.skip("ansible-core is not installed beside this Python")
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(pair.do("inventory"))
    done = subprocess.run(
        [ansible, "-i", inventory, "all", "-m", "ansible.builtin.command", "-a", "hostname"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"north", "south"} <= set(done.stdout.splitlines())


def test_cut_and_heal(pair: Lab) -> None:
    pair.do("cut", "south")
    assert pair.states() == {"north": "on", "south": "cut"}
    assert not pair.reaches("south")
    assert pair.reaches("north")
    pair.do("heal", "south")
    assert pair.states()["south"] == "on"
    wait_until(lambda: pair.reaches("south"), 20)


def test_freeze_and_thaw(pair: Lab) -> None:
    pair.do("freeze", "south")
    assert pair.states() == {"north": "on", "south": "frozen"}
    assert not pair.reaches("south")
    pair.do("thaw", "south")
    assert pair.states()["south"] == "on"
    wait_until(lambda: pair.reaches("south"), 20)


def test_power_off_keeps_the_disk_and_nothing_else(lab: Lab) -> None:
    lab.do("up", "one")
    lab.do("exec", "one", "--", "sh", "-c", "echo kept >/var/lib/kept; echo lost >/run/lost")
    lab.do("exec", "one", "--", "systemd-run", "--quiet", "--unit=sleeper", "sleep", "1000")
    identity = lab.do("exec", "one", "--", "cat", "/etc/machine-id")
    boot = lab.do("exec", "one", "--", "cat", BOOT_ID)

    lab.do("power-off", "one")
    assert lab.states() == {"one": "off"}
    assert "is off" in lab.refused("exec", "one", "--", "true")
    assert not lab.reaches("one")

    lab.do("power-on", "one")
    assert lab.states() == {"one": "on"}
    assert lab.do("exec", "one", "--", "cat", "/var/lib/kept") == "kept"
    assert lab.run("exec", "one", "--", "test", "-e", "/run/lost").returncode == 1
    assert lab.run("exec", "one", "--", "systemctl", "is-active", "sleeper").stdout == "inactive\n"
    assert lab.do("exec", "one", "--", "cat", "/etc/machine-id") == identity
    assert lab.do("exec", "one", "--", "cat", BOOT_ID) != boot
    assert lab.do("ssh", "one", "--", "hostname") == "one"


def test_power_off_is_silent_for_the_others(lab: Lab) -> None:
    lab.do("up", "one", "--init", "plain")
    listen = (
        "import socket, sys\n"
        "connection = socket.create_connection((sys.argv[1], 22))\n"
        "connection.recv(100)\n"
        "print('connected', flush=True)\n"
        "sys.stdin.readline()\n"
        "connection.settimeout(1)\n"
        "try: print('heard', connection.recv(100))\n"
        "except TimeoutError: print('silence')\n"
        "except OSError as error: print(error)\n"
    )
    command = lab.command("lab", "--", sys.executable, "-c", listen, lab.address("one"))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdout is not None
        assert peer.stdout.readline() == "connected\n"
        lab.do("power-off", "one")
        assert peer.communicate("now\n", timeout=60)[0] == "silence\n"


def test_a_frozen_host_can_be_switched_off(lab: Lab) -> None:
    lab.do("up", "one", "--init", "plain")
    lab.do("freeze", "one")
    lab.do("power-off", "one")
    assert lab.states() == {"one": "off"}


def test_reboot_from_inside_switches_off(lab: Lab) -> None:
    lab.do("up", "one")
    lab.run("exec", "one", "--", "systemctl", "reboot", "--force")
    wait_until(lambda: lab.states() == {"one": "off"}, 30)
    lab.do("power-on", "one")
    assert lab.do("exec", "one", "--", "systemctl", "is-system-running") == "running"


def test_plain_hosts_have_no_init(lab: Lab) -> None:
    lab.do("up", "one", "--init", "plain")
    assert lab.do("ssh", "one", "--", "cat", "/proc/1/comm") == "sshd"
    assert lab.run("exec", "one", "--", "test", "-d", "/run/systemd/system").returncode == 1


def test_labs_do_not_see_each_other(lab: Lab, pair: Lab) -> None:
    lab.do("up", "north", "--init", "plain")
    assert lab.states() == {"north": "on"}
    assert lab.do("ssh", "north", "--", "cat", "/proc/1/comm") == "sshd"
    assert pair.do("ssh", "north", "--", "cat", "/proc/1/comm") == "systemd"
    assert lab.address("north") != pair.address("south")
    say = f"import socket; socket.create_connection(({pair.address('south')!r}, 22), 1)"
    assert lab.run("exec", "north", "--", "python3", "-c", say).returncode == 1


def test_hosts_come_and_go_one_by_one(lab: Lab) -> None:
    lab.do("up", "one", "--init", "plain")
    lab.do("up", "two", "--init", "plain")
    assert "exists already" in lab.refused("up", "two", "--init", "plain")
    assert lab.do("ssh", "one", "--", "getent hosts two").split()[0] == lab.address("two")
    lab.do("down", "one")
    assert lab.states() == {"two": "on"}
    assert lab.do("ssh", "two", "--", "hostname") == "two"


def test_down_ends_what_was_started_in_the_lab(lab: Lab) -> None:
    lab.do("up", "one", "--init", "plain")
    stray = lab.do("lab", "--", "sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $!")
    assert Path("/proc", stray).exists()
    # A connection that ssh keeps open in the background.
    lab.do("ssh", "one", "--", "-o", "ControlMaster=auto", "-o", "ControlPersist=1000", "true")
    lab.do("down")
    wait_until(lambda: not Path("/proc", stray).exists())
    wait_until(lambda: lab.traces() == [])
    lab.do("down")


@pytest.mark.parametrize("made", ["key", "net", "hosts/one/host.json", "hosts/one/net", "hosts/two/boot.log"])
def test_down_after_the_tool_was_killed(lab: Lab, made: str) -> None:
    with subprocess.Popen(lab.command("up", "one", "two"), stderr=subprocess.PIPE) as tool:
        wait_until(lambda: lab.directory.joinpath(made).exists() or tool.poll() is not None, 60)
        tool.kill()
    lab.do("down")
    wait_until(lambda: lab.traces() == [])
    lab.do("up", "one", "--init", "plain")
    assert lab.states() == {"one": "on"}


def test_named_network_namespaces_stay_as_they_were(lab: Lab) -> None:
    lab.do("up", "one", "--init", "plain")
    listed = subprocess.run(["ip", "-json", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert lab.name not in json.dumps(json.loads(listed or "[]"))


def test_bad_requests_are_refused_in_one_line(lab: Lab) -> None:
    assert "there is no host one" in lab.refused("power-off", "one")
    assert "there is no lab" in lab.refused("lab", "--", "true")
    for name in ("../x", "Up", "a b", "", "a" * 40):
        assert "small letters" in lab.refused("up", name)
    assert lab.do("list") == ""


def test_without_root_it_says_so() -> None:
    # Imported before: the checkout may lie where nobody else can read it.
    script = "import os, hosts, sys; os.setuid(65534); sys.exit(hosts.main(['list']))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=HOSTS.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("hosts: test hosts need root")
