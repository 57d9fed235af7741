# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A test host that does what it is told: tasks and backends of the checkout, run inside it by one resident process.

The host sees the test's folder and the checkout at the paths that they have on the machine. Its processes have numbers of
their own there: what leaves the host is turned into the machine's.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any, ClassVar

import ansible
import procs
from resident import Resident

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.interface import (
    Backend,
    Service,
    Snapshot,
    Verdict,
)

TOOL = Path(__file__).resolve().parent / "hosts" / "hosts.py"
#: The folder that has `ansible_collections` in it.
CHECKOUT = Path(__file__).resolve().parents[4]
#: What the class of modules is taken from, by what is run there as a module.
ANSIBLE = Path(ansible.__file__).parent
PLUGINS = Path(__file__).resolve().parents[1] / "plugins"
#: What the resident process does; a line of JSON is a call, a line is its answer.
AGENT = """
import json, os, subprocess, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
ANSIBLE = sys.argv[2]

def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr

from ansible_collections.holdfast.supervision.plugins.module_utils._plan import tasks
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.backends import BACKENDS
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.interface import BackendError

def service(one):
    return None if one is None else {key: getattr(one, key) for key in one.__slots__ if hasattr(one, key)}

def do(verb, arguments):
    if verb == "supervisor":
        options, state, backend, check = arguments
        sys.path.append(ANSIBLE)
        from ansible_collections.holdfast.supervision.plugins.modules import supervisor
        return supervisor.supervisor(options, state, backend, run, check)
    if verb == "task":
        parameters, check, diff = arguments
        return tasks.services(parameters, BACKENDS.values(), check_mode=check, with_diff=diff)
    kind, scan, *rest = arguments
    backend = BACKENDS[kind](scan)
    try:
        if verb == "snapshot":
            found = backend.snapshot()
            return [found.supervisor, {name: service(one) for name, one in found.services.items()}]
        if verb == "control":
            backend.snapshot()
            return backend.control([tuple(one) for one in rest[0]])
        if verb == "wait":
            found = backend.wait([tuple(one) for one in rest[0]], rest[1])
            return {name: [one.outcome, service(one.service)] for name, one in found.items()}
        return getattr(backend, verb)()
    finally:
        backend.close()

for line in sys.stdin:
    try:
        answer = {"answer": do(*json.loads(line))}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
"""


#: Before the agent: it kills itself when it is about to run a command that has a word.
KILLED = """
import os, signal, sys
def look(event, arguments):
    if event == "subprocess.Popen" and sys.argv[3] in arguments[1]:
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(look)
"""


class Machine:
    """One host in a lab of its own, with an init of the test's choice."""

    def __init__(self, init: str) -> None:
        self.init = init
        self.lab = f"machine-{uuid.uuid4().hex[:10]}"
        self._agent: Resident | None = None
        self._shared: list[Path] = []
        atexit.register(self.down)
        self.tool("up", "--init", init, "one")

    @staticmethod
    def missing() -> str:
        """Say why there can be none on this machine; nothing if there can."""
        done = subprocess.run([sys.executable, TOOL, "check"], capture_output=True, text=True, timeout=300, check=False)
        return done.stderr.strip()

    def tool(self, *words: str) -> str:
        """Use the command line of the test hosts."""
        done = subprocess.run(self._words(*words), capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def do(self, *words: str) -> str:
        """Run a command inside, which must succeed; what it printed."""
        return self.tool("exec", "one", "--", *words)

    def share(self, path: Path) -> None:
        """Let the host see a folder of the machine."""
        if path not in self._shared:
            self.tool("share", "one", str(path))
            self._shared.append(path)

    def power_cycle(self) -> None:
        """Cut the power and boot again; what was shared is seen again."""
        self._end_agent()
        self.tool("power-off", "one")
        self.tool("power-on", "one")
        shared, self._shared = self._shared, []
        for path in shared:
            if path.exists():
                self.share(path)

    def call(self, verb: str, *arguments: Any) -> Any:
        """Have the resident process do something. Raises Refused with what it answered to an impossible call."""
        if self._agent is None:
            self._agent = Resident(self._words("exec", "one", "--", *self._resident()))
        return self._agent.ask(verb, *arguments)

    def killed_at(self, word: str, verb: str, *arguments: Any) -> None:
        """Have a process of its own do something, killed when it is about to run a command with this word."""
        done = subprocess.run(
            self._words("exec", "one", "--", *self._resident(KILLED + AGENT), word),
            input=json.dumps([verb, arguments]) + "\n",
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.stdout == "" and done.returncode != 0, f"{word} was not run: {done.stdout}{done.stderr}"

    def _resident(self, program: str = AGENT) -> list[str]:
        """The command of the resident process."""
        self.share(PLUGINS)
        self.share(ANSIBLE)
        return ["python3", "-c", program, str(CHECKOUT), str(ANSIBLE.parent)]

    def numbers(self) -> dict[int, int]:
        """The machine's number of each process of the host, by the host's own."""
        found = {}
        space = os.readlink(f"/proc/{self.process_one()}/ns/pid")
        for pid in procs.pids():
            try:
                if os.readlink(f"/proc/{pid}/ns/pid") == space:
                    found[int(procs.status(pid)["NSpid"].split()[-1])] = pid
            except (OSError, KeyError):
                continue
        return found

    def process_one(self) -> int:
        """Process 1 of the host as the machine numbers it."""
        return int(self.tool("pid", "one"))

    def down(self) -> None:
        """Remove the host; may be called twice."""
        self._end_agent()
        subprocess.run(self._words("down"), capture_output=True, timeout=600, check=False)
        atexit.unregister(self.down)

    def _end_agent(self) -> None:
        agent, self._agent = self._agent, None
        if agent is not None:
            agent.finish(300)

    def _words(self, *words: str) -> list[str]:
        return [sys.executable, str(TOOL), "--lab", self.lab, *words]


class Remote(Backend):
    """A backend inside a machine."""

    name = "remote"

    def __init__(self, machine: Machine, kind: str, scan: str) -> None:
        super().__init__(scan)
        self._machine = machine
        self._kind = kind

    def snapshot(self) -> Snapshot:
        supervisor, records = self._call("snapshot")
        numbers = self._machine.numbers()
        return Snapshot(supervisor, {name: _service(record, numbers) for name, record in records.items()})

    def rescan(self) -> None:
        self._call("rescan")

    def control(self, commands: list[tuple[str, str]]) -> dict[str, str]:
        refused: dict[str, str] = self._call("control", commands)
        return refused

    def wait(self, wishes: list[tuple[str, str]], timeout: float) -> dict[str, Verdict]:
        found = self._call("wait", wishes, timeout)
        numbers = self._machine.numbers()
        return {
            name: Verdict(name, outcome, None if record is None else _service(record, numbers))
            for name, (outcome, record) in found.items()
        }

    def close(self) -> None:
        """The machine stays."""

    def _call(self, verb: str, *arguments: Any) -> Any:
        return self._machine.call(verb, self._kind, self.scan, *arguments)


def play(
    folder: Path, inventory: str, variables: dict[str, Any], playbook: str, *options: str, timeout: float = 900
) -> str:
    """Run a playbook of the collection on the hosts of *inventory*, which must succeed; what it said."""
    (folder / "hosts.yml").write_text(inventory)
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            f"--inventory={folder / 'hosts.yml'}",
            f"--extra-vars={json.dumps(variables)}",
            *options,
            f"holdfast.supervision.{playbook}",
        ],
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT),
            "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
            "ANSIBLE_LOCAL_TEMP": str(folder / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_TIMEOUT": "120",
        },
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def task(machine: Machine, parameters: dict[str, Any], check: bool, diff: bool) -> dict[str, Any]:
    """Run the task `services` inside a machine."""
    result: dict[str, Any] = machine.call("task", parameters, check, diff)
    numbers = machine.numbers()
    for record in (result.get("services") or {}).values():
        record["pid"] = numbers.get(record["pid"], record["pid"])
    return result


def _service(record: dict[str, Any], numbers: dict[int, int]) -> Service:
    if record.get("pid"):
        record["pid"] = numbers.get(record["pid"], record["pid"])
    service = Service(record)
    service.stale = bool(record.get("stale"))
    return service


class Machines:
    """The machines of one test process: each init is booted once, when it is first asked for, and ends with the process."""

    _there: ClassVar[dict[str, Machine]] = {}

    @classmethod
    def get(cls, init: str) -> Machine:
        if init not in cls._there:
            cls._there[init] = Machine(init)
        return cls._there[init]
