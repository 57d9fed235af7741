# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other ways to have something done by root: the floor in C, oslo.privsep, a multiprocessing manager, sudo."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.managers import BaseManager
from pathlib import Path

import callers
import procs

#: A Python that has oslo.privsep, where that of the benchmarks has not.
PRIVSEP = os.environ.get("HOLDFAST_PRIVSEP_PYTHON", "")


class Floor:
    """A round trip between two C programs: what the kernel and the machine take, whoever asks."""

    def __init__(self, folder: Path) -> None:
        self.program = folder / "pingpong"
        source = Path(__file__).with_name("pingpong.c")
        subprocess.run(["cc", "-O2", "-o", str(self.program), str(source)], check=True)

    @staticmethod
    def available() -> bool:
        """Whether there is a compiler."""
        return shutil.which("cc") is not None

    def latencies(self, count: int) -> tuple[float, float]:
        """Median and 99th percentile in seconds."""
        words = subprocess.run([self.program, str(count)], check=True, capture_output=True, text=True).stdout.split()
        return float(words[0]) * 1e-6, float(words[1]) * 1e-6


class _Given:
    """What the manager's process does."""

    def ping(self, number: int) -> int:
        """Give the number."""
        return number


class _Manager(BaseManager):
    pass


_Manager.register("given", _Given)


class Manager:
    """multiprocessing's manager, as supervdsm has it: a thread for each connection, pickle, no check of anything."""

    def __init__(self, folder: Path) -> None:
        self._address = str(folder / "manager")
        self._manager = _Manager(address=self._address, authkey=b"")
        self._manager.start()
        os.chmod(self._address, 0o666)

    def make(self) -> Callable[[], object]:
        """Connect."""
        manager = _Manager(address=self._address, authkey=b"")
        manager.connect()
        given = manager.given()  # type: ignore[attr-defined]
        return lambda: given.ping(1)

    def close(self) -> None:
        """End it."""
        self._manager.shutdown()


def sudo() -> Callable[[], object]:
    """`sudo -n true`, as the caller."""
    return lambda: subprocess.run(["sudo", "-n", "true"], check=True)


def spawn() -> Callable[[], object]:
    """`/bin/true`, by nobody's leave: what there is below every way to start it."""
    return lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)


class Sudoers:
    """The line in sudoers without which the caller may do nothing; gone afterwards."""

    path = Path("/etc/sudoers.d/holdfast-benchmark")

    def __enter__(self) -> None:
        with tempfile.NamedTemporaryFile("w", dir=self.path.parent, prefix=".holdfast", delete=False) as file:
            file.write(f"#{callers.CALLER} ALL=(root) NOPASSWD: {shutil.which('true')}\n")
        os.chmod(file.name, 0o440)
        os.rename(file.name, self.path)

    def __exit__(self, *_details: object) -> None:
        self.path.unlink(missing_ok=True)


_PRIVSEP_SCRIPT = """
import os, sys, json, time, threading, logging
from oslo_config import cfg
cfg.CONF([], project="benchmark")
from oslo_privsep import capabilities, priv_context
import types
context = priv_context.PrivContext("benchmark", cfg_section="benchmark", pypath="benchmark.context",
                                   capabilities=[capabilities.CAP_NET_ADMIN])
module = types.ModuleType("benchmark"); module.context = context; sys.modules["benchmark"] = module
def ping(number):
    return number
ping.__module__ = "benchmark"; module.ping = ping
ping = context.entrypoint(ping); module.ping = ping
context.start(priv_context.Method.FORK)
os.setgroups([]); os.setresgid(1, 1, 1); os.setresuid(1, 1, 1)
for line in sys.stdin:
    kind, number = line.split()
    if kind == "latencies":
        taken = []
        for _n in range(50): ping(1)
        for _n in range(int(number)):
            began = time.perf_counter(); ping(1); taken.append(time.perf_counter() - began)
        taken.sort()
        print(json.dumps([taken[len(taken) // 2], taken[int(len(taken) * 0.99)]]), flush=True)
    else:
        counts = [0] * 4
        end = time.perf_counter() + float(number)
        def work(index):
            while time.perf_counter() < end:
                ping(1); counts[index] += 1
        threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
        [one.start() for one in threads]; [one.join() for one in threads]
        print(json.dumps(sum(counts) / float(number)), flush=True)
"""


class Privsep:
    """oslo.privsep: one daemon of an unprivileged program, forked from it. Its four callers are threads of that."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [PRIVSEP or sys.executable, "-c", _PRIVSEP_SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    @staticmethod
    def available() -> bool:
        """Whether it is installed."""
        return bool(PRIVSEP) or importlib.util.find_spec("oslo_privsep") is not None

    def ask(self, kind: str, number: float) -> object:
        """Give what was measured."""
        import json

        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{kind} {number}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End it and its daemon."""
        left = procs.descendants(self._process.pid)
        self._process.kill()
        self._process.communicate()
        for pid in left:
            if procs.alive(pid):
                os.kill(pid, 9)
