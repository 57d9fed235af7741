# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A pid namespace whose process 1 is a supervisor of the test's choice, and the modules run inside it.

The file system is the machine's, but for what hides its init. Numbers of processes are those of the namespace.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import rolefiles
from hosted import CHECKOUT
from resident import Resident

#: What the process inside does; a line of JSON is a call of Switched, a line is its answer.
AGENT = """
import json, os, sys
from pathlib import Path
sys.dont_write_bytecode = True
sys.path[:0] = json.loads(sys.argv[1])
import switching
host = switching.Switched(Path(sys.argv[2]))

def do(verb, arguments):
    if verb == "services":
        host.backend = arguments[0]
        return {name: [one.state, one.pid] for name, one in host.services().items()}
    if verb == "converge":
        host.backend = arguments[0]
        return host.converge(arguments[1])["changed"]
    if verb == "kill":
        return os.kill(*arguments)
    state, backend, scripts, check = arguments
    return switching.supervisor.supervisor(host.options(scripts=scripts), state, backend, switching.run, check)

for line in sys.stdin:
    try:
        answer = {"answer": do(*json.loads(line))}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer, default=str), flush=True)
"""


def missing() -> str:
    """Say why there can be no pid namespace here; nothing if there can."""
    if shutil.which("unshare") is None:
        return "there is no unshare"
    command = ["unshare", "--fork", "--pid", "--mount", "--mount-proc", "true"]
    tried = subprocess.run(command, capture_output=True, check=False, timeout=30)
    return "" if tried.returncode == 0 else "needs the right to make pid namespaces"


class Contained:
    """The namespace. base: a folder of the test's own; first: the command of process 1, which may use it."""

    def __init__(self, base: Path, first: str) -> None:
        self.base = base
        self.scan = base / "holdfast" / "services"
        hidden = "for path in /run/systemd /run/openrc; do [ ! -d $path ] || mount -t tmpfs tmpfs $path || exit; done"
        with (base / "first").open("wb") as output:
            self._holder = subprocess.Popen(
                [
                    "unshare",
                    "--fork",
                    "--kill-child",
                    "--pid",
                    "--mount",
                    "--mount-proc",
                    "sh",
                    "-c",
                    f"{hidden}; {first}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={"PATH": rolefiles.PATH},
            )
        self._agent: Resident | None = None

    def process_one(self) -> int:
        """The machine's number of process 1."""
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def supervisor(self, state: str, backend: str, check: bool = False, scripts: bool = True) -> dict[str, Any]:
        """Do what the module supervisor does there. Raises Refused."""
        result: dict[str, Any] = self._call(
            state, backend, rolefiles.scripts(backend, self.base / "holdfast") if scripts else {}, check
        )
        return result

    def services(self, backend: str) -> dict[str, tuple[str, int | None]]:
        """State and pid of each service."""
        return {name: (state, pid) for name, (state, pid) in self._do("services", backend).items()}

    def converge(self, backend: str, definitions: dict[str, Any]) -> bool:
        """Run the task `services`; whether it has changed anything."""
        return bool(self._do("converge", backend, definitions))

    def kill(self, pid: int, number: int) -> None:
        self._do("kill", pid, number)

    def _call(self, *arguments: Any) -> Any:
        return self._do("supervisor", *arguments)

    def _do(self, verb: str, *arguments: Any) -> Any:
        if self._agent is None:
            paths = json.dumps([str(CHECKOUT), *filter(None, sys.path)])
            self._agent = Resident(
                ["nsenter", f"--target={self.process_one()}", "--pid", "--mount", "--"]
                + [sys.executable, "-c", AGENT, paths, str(self.base)]
            )
        return self._agent.ask(verb, *arguments)

    def close(self) -> None:
        """End it and everything in it, as a power cut does."""
        if self._agent is not None:
            self._agent.close()
        self._holder.kill()
        self._holder.wait()
