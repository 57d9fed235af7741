# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Supervisor (supervisord), spoken to by its own XML-RPC socket."""

from __future__ import annotations

import http.client
import socket
import time
import xmlrpc.client
from pathlib import Path
from typing import Any

import procs
from suite import DESCRIPTORS, PROGRAM, USER, Suite

_MAIN = """\
[supervisord]
nodaemon=true
user=root
minfds={descriptors}
minprocs={processes}
logfile={base}/supervisord.log
pidfile={base}/supervisord.pid
childlogdir={base}
[unix_http_server]
file={base}/socket
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[include]
files={scan}/*.conf
"""

_PROGRAM = """\
[program:{name}]
command={run}
autorestart=true
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes=1000000
stdout_logfile_backups=10
"""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def _answers(path: str) -> bool:
    """Whether somebody listens: the socket is there a little earlier."""
    with socket.socket(socket.AF_UNIX) as tried:
        return tried.connect_ex(path) == 0


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _Connection(self._path)


class Supervisor(Suite):
    """Supervisor: one process, loggers included; the limits are set by the shell, which it has no option for."""

    title = "Supervisor"
    programs = ("supervisord",)
    restarts = 6
    additions = 5

    def __init__(self, count: int, state: bool = False) -> None:
        super().__init__(count, state)
        (self.base / "logs").mkdir()
        self._known: dict[str, int] = {}

    def run_text(self) -> str:
        limit = f"ulimit -n {DESCRIPTORS}\n" if self.state else ""
        return f"#!/bin/sh\nexec 2>&1\n{limit}exec sleep 1000000\n"

    def write(self, name: str, directory: Path, run: str | None = None) -> None:
        self.script(self.base / "run" / name, run or self.run_text())
        text = _PROGRAM.format(name=name, run=self.base / "run" / name, log=self.base / "logs" / name)
        if self.state:
            text += f"user={USER}\n"
        Path(f"{directory}.conf").write_text(text)

    def command(self) -> list[str]:
        configuration = self.base / "supervisord.conf"
        count = len(self.names)
        configuration.write_text(
            _MAIN.format(base=self.base, scan=self.scan, descriptors=5 * count + 200, processes=count + 50)
        )
        return ["supervisord", "-c", str(configuration)]

    def wait_up(self, timeout: float = 120.0) -> float:
        assert self.root is not None
        root = self.root.pid
        up: set[int] = set()

        def all_up() -> bool:
            # The main process can't be asked without making it slower; its children can be counted.
            up.update(pid for pid in procs.children(root) if pid not in up and procs.name(pid) == PROGRAM)
            return len(up) >= len(self.names)

        procs.wait_until(all_up, timeout, "Supervisor: all up", pause=0.01)
        return time.perf_counter() - self.started

    def pid(self, name: str) -> int:
        """The pid, without a call, which would keep the supervisor busy: its newest child is what was just started."""
        assert self.root is not None
        if not self._known:
            self._known = {process["name"]: process["pid"] for process in self.server().supervisor.getAllProcessInfo()}
        known = self._known.get(name, 0)
        if known and procs.alive(known):
            return known
        taken = set(self._known.values())
        for pid in procs.children(self.root.pid):
            if pid not in taken and procs.alive(pid):
                self._known[name] = pid
                return pid
        return 0

    def server(self) -> Any:
        """The supervisor's remote interface."""
        path = str(self.base / "socket")
        procs.wait_until(lambda: _answers(path), 60, "Supervisor: socket")
        return xmlrpc.client.ServerProxy("http://localhost", transport=_Transport(path))

    def announce(self) -> None:
        server = self.server()
        ((added, _changed, _removed),) = server.supervisor.reloadConfig()
        for name in added:
            server.supervisor.addProcessGroup(name)

    def stop_all(self) -> None:
        self.server().supervisor.stopAllProcesses(False)

    def logs(self, name: str) -> bool:
        return True
