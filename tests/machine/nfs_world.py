# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An NFS server, and hosts that are its clients, inside an emulated machine; a leased service on each.

The server is the kernel's. A host is a network, a mount, a /run/holdfast and a name of its own: by that the server tells clients apart.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.supervision.plugins.module_utils._varlink.client import Connection, ConnectionLost

PAYLOAD = Path("/payload")
SERVER = Path("/proc/fs/nfsd")
#: Where the kernel keeps which clients may have something back after a restart.
RECOVERY = Path("/var/lib/nfs/v4recovery")
LEASES = "/mnt/leases"
BEATS = Path("/beats")
FOREVER = 2**31 - 1
#: subtrees are not looked after, ports may be high, and the number 0 names the root of all that is exported.
EXPORT = 0x400 | 0x2 | 0x2000
_FINIT_MODULE = 313

libc = ctypes.CDLL(None, use_errno=True)

#: It hears nothing of the end that it is asked for, and leaves its session: only a kill of the whole tree ends it.
SERVICE = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork():
    while True:
        time.sleep(1000)
os.setsid()
file = os.open("/beats/" + sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
while True:
    line = f"{os.environ['HOLDFAST_TOKEN']} {sys.argv[1]} {time.clock_gettime_ns(time.CLOCK_BOOTTIME)}\\n"
    os.write(file, line.encode())
    time.sleep(0.05)
"""

#: What the driver says of a directory.
PROBE = """
import sys
from ansible_collections.holdfast.supervision.plugins.module_utils._lease import drivers, interface
made = drivers.make("file", "probe", {"scope": "hosts", "directory": sys.argv[1]})
try:
    print([hole.name for hole in made.probe()], made.facts(), made.ttl)
except interface.LeaseError as error:
    print(error)
"""

#: When a lock could be had.
LOCKABLE = """
import os, sys, time
from ansible_collections.holdfast.supervision.plugins.module_utils._lease import ofd
file = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT)
print("ready", flush=True)
while not ofd.lockable(file, 0):
    time.sleep(0.05)
print(time.clock_gettime_ns(time.CLOCK_BOOTTIME), flush=True)
"""


def run(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout.strip()


def write(path: Path | str, text: str) -> None:
    """Write at once: the kernel's files take a line at a time."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def until(true: Callable[[], object], what: str, seconds: float = 300) -> float:
    """Wait for something; give the seconds that it took."""
    began = time.monotonic()
    while not true():
        if time.monotonic() > began + seconds:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.1)
    return round(time.monotonic() - began, 2)


def load_modules() -> None:
    for name in (PAYLOAD / "modules" / "order").read_text().split():
        descriptor = os.open(PAYLOAD / "modules" / name, os.O_RDONLY)
        if libc.syscall(_FINIT_MODULE, descriptor, b"", 0) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), name)
        os.close(descriptor)


class Host:
    """A client of the server, and a guard on it that is started again and again, as a supervisor does."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.server = f"10.0.{number}.1"
        self.address = f"10.0.{number}.2"
        self.link = f"to-{name}"
        self.keeper: subprocess.Popen[bytes] | None = None
        self.agent: subprocess.Popen[str] | None = None
        run("ip", "link", "add", self.link, "type", "veth", "peer", "name", f"at-{name}")
        run("ip", "addr", "add", f"{self.server}/24", "dev", self.link)
        run("ip", "link", "set", self.link, "up")
        command = ["unshare", "--net", "--uts", "--mount", "--propagation=private", "sh", "-c"]
        command.append(
            f"hostname {name}; mkdir -p /run/{name}/holdfast /run/holdfast; mount --bind /run/{name}/holdfast /run/holdfast; "
            "echo there; exec sleep 100000"
        )
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.process.stdout.readline()
        run("ip", "link", "set", f"at-{name}", "netns", str(self.process.pid))
        self.run("ip", "addr", "add", f"{self.address}/24", "dev", f"at-{name}")
        self.run("ip", "link", "set", f"at-{name}", "up")
        write("/proc/net/rpc/auth.unix.ip/channel", f"nfsd {self.address} {FOREVER} clients\n")

    def here(self, *command: str) -> list[str]:
        return ["nsenter", "-t", str(self.process.pid), "--net", "--uts", "--mount", *command]

    def run(self, *command: str) -> str:
        return run(*self.here(*command))

    def mount(self, *options: str) -> None:
        words = (f"addr={self.server}", f"clientaddr={self.address}", "hard", "timeo=100", *options)
        self.run("mount", "-i", "-t", "nfs4", "-o", ",".join(words), f"{self.server}:/", "/mnt")

    def keep_running(self) -> None:
        """Have a guard that stands in line, and another one whenever it ends, with what `told` has said by then."""
        words = [
            "--name=service",
            f"--state=/run/{self.name}",
            "--resource=db",
            "--driver=file",
            f"--directory={LEASES}",
        ]
        words += ["--parameter=scope=hosts", "--stop-timeout=2"]
        guard = " ".join(["/usr/bin/python3", "-I", "-S", "/payload/runtime", "guard", *words])
        kept = f"while [ -e /run/{self.name}/kept ]; do sleep 0.1; done"
        guard += f" $(cat /run/{self.name}/more 2>/dev/null)"
        again = f"{guard} -- /usr/bin/python3 /payload/service.py {self.name}; {kept}"
        script = f"while [ ! -e /run/{self.name}/down ]; do {again}; done"
        with open(f"/run/{self.name}.log", "ab") as log:
            self.keeper = subprocess.Popen(self.here("sh", "-c", script), stdout=log, stderr=log)

    def told(self, *words: str) -> None:
        """Have the next guards started with these options, too."""
        Path(f"/run/{self.name}/more").write_text(" ".join(words))

    @contextmanager
    def kept(self) -> Iterator[None]:
        """No guard is started when the present one ends: it would be as early as one in line, which looks now and then."""
        file = Path(f"/run/{self.name}/kept")
        file.touch()
        yield
        file.unlink()

    def do(self, module: str, options: dict[str, Any]) -> dict[str, Any]:
        """Do a task of a module on this host."""
        if self.agent is None:
            command = self.here("/usr/bin/python3", "/payload/nfs_agent.py")
            self.agent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert self.agent.stdout is not None
            self.agent.stdout.readline()
        assert self.agent.stdin is not None and self.agent.stdout is not None
        self.agent.stdin.write(json.dumps({"module": module, "options": options}) + "\n")
        self.agent.stdin.flush()
        return dict(json.loads(self.agent.stdout.readline()))

    def state(self) -> dict[str, Any]:
        try:
            return dict(json.loads(Path(f"/run/{self.name}/service/state.json").read_text()))
        except (OSError, ValueError):
            return {}

    def guard(self) -> int:
        return int(self.state().get("pid", 0))

    def hand(self) -> int:
        """The process of its guard that has the lock file open, 0 if there is none."""
        network = os.readlink(f"/proc/{self.process.pid}/ns/net")
        for entry in Path("/proc").iterdir():
            try:
                if (entry / "comm").read_text() == "holdfast-nfs\n" and os.readlink(entry / "ns" / "net") == network:
                    return int(entry.name)
            except OSError:
                continue
        return 0

    def phase(self) -> str:
        return str(self.state().get("phase", ""))

    def waits(self) -> bool:
        """Whether its guard stands in line: one that has only begun may be overtaken by another one that begins."""
        return self.phase() == "standby" and bool(self.state().get("in_line"))

    def token(self) -> int:
        return next((int(one["token"]) for one in self.state().get("resources", ())), 0)

    def beats(self) -> list[tuple[int, int]]:
        """When a process of the service was alive (nanoseconds), and with which token."""
        try:
            lines = (BEATS / self.name).read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        return [(int(line.split()[2]), int(line.split()[0])) for line in lines]

    def last(self) -> int:
        """The time of the last beat."""
        try:
            with (BEATS / self.name).open("rb") as file:
                file.seek(max(os.fstat(file.fileno()).st_size - 200, 0))
                lines = file.read().split(b"\n")[:-1]
        except FileNotFoundError:
            return 0
        return int(lines[-1].split()[2]) if lines else 0

    def runs(self) -> bool:
        """Whether the service beats now. The machine is slow: it has a second for that."""
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        for _unused in range(10):
            if self.last() > now:
                return True
            time.sleep(0.1)
        return False

    def cut(self) -> None:
        run("ip", "link", "set", self.link, "down")

    def heal(self) -> None:
        run("ip", "link", "set", self.link, "up")


def start_server() -> None:
    # What exportfs and mountd would tell the kernel, which forgets it with each stop.
    write("/proc/net/rpc/nfsd.export/channel", f"clients /export {FOREVER} {EXPORT} 65534 65534 0\n")
    write("/proc/net/rpc/nfsd.fh/channel", f"clients 1 \\x00000000 {FOREVER} /export\n")
    write(SERVER / "threads", "2\n")


def serve(names: str, lease_time: int) -> list[Host]:
    """Start the server, and give a host for each of *names*, with nothing mounted yet."""
    load_modules()
    BEATS.mkdir()
    run("ip", "link", "set", "lo", "up")
    hosts = [Host(name, number) for number, name in enumerate(names, start=1)]
    run("mount", "-t", "nfsd", "nfsd", str(SERVER))
    run("mkdir", "-p", "/export", str(RECOVERY))
    # Without the older versions the server needs no port mapper.
    write(SERVER / "versions", "-3 +4 +4.1 +4.2\n")
    write(SERVER / "nfsv4leasetime", f"{lease_time}\n")
    write(SERVER / "nfsv4gracetime", f"{lease_time}\n")
    start_server()
    # Nobody has anything yet. Who comes in the first time of grace would be forgotten at its end.
    end_grace()
    return hosts


def end_grace() -> None:
    write(SERVER / "v4_end_grace", "Y\n")


def stop_server() -> None:
    write(SERVER / "threads", "0\n")


def log() -> str:
    """What the guards have said."""
    return "".join(f"{file}:\n{file.read_text()[-2500:]}\n" for file in Path("/run").glob("[abc].log"))


def hands() -> int:
    found = 0
    for entry in Path("/proc").iterdir():
        try:
            found += (entry / "comm").read_text() == "holdfast-nfs\n"
        except OSError:
            continue
    return found


def nfs_open(host: Host) -> list[str]:
    """The processes of the guard's tree that have anything on NFS open."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            names = [os.readlink(one) for one in (entry / "fd").iterdir()]
            if any(name.startswith("/mnt/") for name in names):
                found.append((entry / "comm").read_text().strip())
        except OSError:
            continue
    return sorted(set(found))


def renewals(host: Host) -> int:
    """How often the guard has renewed well."""
    try:
        with Connection(f"/run/{host.name}/service/socket", 30) as connection:
            told = connection.call("io.holdfast.Guard.Status", {})["renewals"]
    except ConnectionLost:
        return 0
    return int(told["count"]) - int(told["failed"])


def whole(work: Callable[[], None]) -> None:
    """Do all that the machine was booted for; the last that is printed says how that ended."""
    (PAYLOAD / "service.py").write_text(SERVICE)
    try:
        work()
    except Exception:
        print(f"failed:\n{traceback.format_exc()}\n{log()}", flush=True)
    else:
        print("main is over", flush=True)
