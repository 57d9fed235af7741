# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Guards as real processes, with a service that writes beats which a history can be judged by."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import procs
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._lease._sanlock.daemon import in_store
from ansible_collections.holdfast.supervision.plugins.module_utils._varlink.client import Connection
from ansible_collections.holdfast.supervision.plugins.plugin_utils import pack

if TYPE_CHECKING:
    from sanlocks import Host

PYTHON = "/usr/bin/python3"

# Beats: token, clock of the whole host. The service is as stubborn as can be: it ignores what asks it to end, leaves
# its session twice, closes every descriptor, and beats from the grandchild; the main process only stays.
STUBBORN = """\
import os, signal, sys, time
history, name = sys.argv[1:3]
token = os.environ["HOLDFAST_TOKEN"]
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        os.closerange(0, 4096)
        file = os.open(history, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        while True:
            line = "%s %s %d\\n" % (token, name, time.clock_gettime_ns(time.CLOCK_BOOTTIME))
            os.write(file, line.encode())
            time.sleep(0.0005)
    os._exit(0)
while True:
    time.sleep(1000)
"""

# Beats from a child that stays where it is, with all that it was given, and heeds nothing.
STAYS = """\
import os, signal, sys, time
token = os.environ["HOLDFAST_TOKEN"]
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
    while True:
        os.write(file, ("%s %s %d\\n" % (token, sys.argv[2], time.clock_gettime_ns(time.CLOCK_BOOTTIME))).encode())
        time.sleep(0.0005)
while True:
    time.sleep(1000)
"""

# The same that beats from a child which has left group and session, closed everything, and has another environment.
FORGETS = """\
import os, signal, sys, time
word = sys.argv[3:] or [os.environ["HOLDFAST_TOKEN"]]
if not sys.argv[3:]:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    if os.fork():
        while True:
            time.sleep(1000)
    os.setsid()
    os.closerange(3, 4096)
    program = open("/proc/self/cmdline").read().split("\\0")[:-1]
    os.execve(program[0], [*program, *word], {})
file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
while True:
    os.write(file, ("%s %s %d\\n" % (word[0], sys.argv[2], time.clock_gettime_ns(time.CLOCK_BOOTTIME))).encode())
    time.sleep(0.0005)
"""

# Beats by itself, with no descriptor of ours.
CLOSES = """\
import os, sys, time
token = os.environ["HOLDFAST_TOKEN"]
os.closerange(3, 1024)
file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
while True:
    os.write(file, ("%s %s %d\\n" % (token, sys.argv[2], time.clock_gettime_ns(time.CLOCK_BOOTTIME))).encode())
    time.sleep(0.0005)
"""


#: Texts of a runtime's files that are exchanged: (file, text, instead).
Edits = tuple[tuple[str, str, str], ...]


def make_runtime(base: Path, edits: Edits = ()) -> Path:
    """Make a runtime tree below *base*, with known faults if *edits* say so."""
    tree = base / "runtime"
    content = dict(pack.runtime_files())
    for name, old, new in edits:
        assert old.encode() in content[name], f"{name} has changed: {old!r} is not in it any more"
        content[name] = content[name].replace(old.encode(), new.encode())
    for name, text in content.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    return tree


class Guards:
    """Guards of one directory of leases. base: a folder of the test's own."""

    def __init__(self, runtime: Path, base: Path) -> None:
        self.runtime = runtime
        self.base = base
        self.leases = base / "leases"
        self.state = base / "guards"
        self.driver: tuple[str, ...] = (f"--directory={self.leases}",)
        #: What guards are started by, a command that ends in theirs.
        self.inside: tuple[str, ...] = ()
        self.started: list[subprocess.Popen[str]] = []

    def start(self, name: str, *words: str, command: tuple[str, ...] = ("sleep", "1000")) -> subprocess.Popen[str]:
        """Start a guard; words: options, and resources as `--resource=NAME`."""
        resources = () if any(word.startswith("--resource") for word in words) else ("--resource=r",)
        errors = (self.base / f"{name}.err").open("ab")
        guard = subprocess.Popen(
            [*self.inside, PYTHON, "-I", "-S", str(self.runtime), "guard", f"--name={name}", *self.driver]
            + [f"--state={self.state}", *resources, *words, "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        errors.close()
        self.started.append(guard)
        return guard

    def use_etcd(self, endpoints: str, ttl: float = 3) -> None:
        """Let guards that are started from now on have their leases in an etcd, with a prefix of these guards' own."""
        self.driver = (
            "--driver=etcd",
            f"--ttl={ttl}",
            f"--parameter=endpoints={endpoints}",
            f"--parameter=prefix={self.base}",
        )

    def use_sanlock(self, host: Host, **parameters: object) -> None:
        """Let guards that are started from now on be on that host, with resources of these guards' own."""
        given = host.parameters(prefix=f"{self.base.name}/", **parameters)
        words = (f"--parameter={name}={value}" for name, value in given.items())
        # Its storage is a file of this machine, and there is no watchdog.
        self.driver = ("--driver=sanlock", "--safety=standard", *words)

    def stored(self, resource: str = "r") -> str:
        """What a resource of these guards is called on the storage of sanlock."""
        return in_store(f"{self.base.name}/{resource}")

    def complaints(self, name: str) -> str:
        return (self.base / f"{name}.err").read_text()

    def report(self, name: str) -> dict[str, Any]:
        """What the guard last wrote about itself, nothing while there is none."""
        try:
            return dict(json.loads((self.state / name / "state.json").read_text()))
        except (OSError, ValueError):
            return {}

    def until(self, name: str, phase: str) -> dict[str, Any]:
        def reached() -> bool:
            found = self.report(name)
            return found.get("phase") == phase and (phase != "active" or bool(found["tree"]))

        wait_until(reached, message=f"{name} is not {phase}: {self.report(name)}, {self.errors(name)}")
        return self.report(name)

    def until_in_line(self, name: str) -> None:
        """Wait until it has found that somebody is in its way: before, it stands by and asks without its preference."""
        wait_until(lambda: self.report(name).get("in_line"), message=f"{name} is not in line: {self.errors(name)}")

    def turns(self, name: str) -> int:
        """How often a guard and all processes below it have been woken."""
        found = [int(self.report(name)["pid"])]
        for pid in found:
            found += procs.children(pid)
        return sum(map(procs.turns, found))

    def until_asleep(self, name: str) -> int:
        """Wait until one in line has come to rest; give `turns` then."""

        def rests() -> int:
            before = self.turns(name)
            time.sleep(0.3)
            return before if self.turns(name) == before else 0

        self.until_in_line(name)
        return wait_until(rests)

    def errors(self, name: str) -> str:
        path = self.base / f"{name}.err"
        return path.read_text() if path.exists() else ""

    def call(self, name: str, method: str, **parameters: Any) -> dict[str, Any]:
        with Connection(str(self.state / name / "socket"), 20) as connection:
            return connection.call(f"io.holdfast.Guard.{method}", parameters)

    def token(self, name: str, resource: str = "r") -> int:
        held = self.report(name)["resources"]
        return int(next(one["token"] for one in held if one["name"] == resource))

    def close(self) -> None:
        """End all guards; their trees go with them, or are found by their folder."""
        for guard in self.started:
            if guard.poll() is None:
                guard.kill()
            guard.wait()

        def nothing_left() -> bool:
            mark = str(self.base)
            left = [
                pid
                for pid in procs.pids()
                if pid != os.getpid() and procs.alive(pid) and any(mark in word for word in procs.arguments(pid))
            ]
            for pid in left:
                procs.kill(pid)
            return not left

        wait_until(nothing_left)


def overlaps(history: Path) -> tuple[int, list[str]]:
    """Judge a history of beats: the number of tenures, and every beat of one tenure after the first of a later one."""
    spans: dict[int, list[int]] = {}
    for line in history.read_text().splitlines():
        token, _name, at = line.split()
        span = spans.setdefault(int(token), [int(at), int(at)])
        span[0], span[1] = min(span[0], int(at)), max(span[1], int(at))
    found = []
    ordered = sorted(spans)
    for at, token in enumerate(ordered[:-1]):
        later = ordered[at + 1]
        if spans[token][1] >= min(spans[one][0] for one in ordered[at + 1 :]):
            found.append(f"token {token} beat {spans[token][1]} after token {later} began {spans[later][0]}")
    return len(spans), found
