# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`holdfast supervise`: the embedded supervisor as a program. PRIVATE to the collection.

    holdfast supervise [--layout runit|encore] [--log-user USER] [--exit-with NAME] [--groups UNIT] SCANDIR
    holdfast supervise --service DIR

With SCANDIR/.openrc, OpenRC says what is started at boot, and is told the pids (supervise/pid). It is no option, since
supervise-daemon starts us again with those that it began with; --openrc, of former scripts, is accepted and means nothing.
It stays in the foreground. TERM and INT: stop all services in order, then end. QUIT: end and leave them running, for
the next supervisor to adopt. HUP: look at the scan directory. As process 1 it also reaps orphans.
Exit codes: 0 ended as asked (or the code of the service named by --exit-with), 100 another supervisor has the
directory, 111 it can't be used, 2 wrong usage.
"""

from __future__ import annotations

import gc
import os
import signal
import stat
import sys

from . import files, recovery, spawn, status
from .api import Api
from .host import Host
from .service import Service

USAGE = (
    "usage: holdfast supervise [--layout runit|encore] [--log-user USER] [--exit-with NAME] [--groups UNIT] SCANDIR\n"
    "       holdfast supervise [--layout runit|encore] --service DIR\n"
)
LOCKED, UNUSABLE, WRONG_USAGE = 100, 111, 2


class _Fatal(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def main(arguments: list[str]) -> int:
    """Run the supervisor; returns its exit code."""
    try:
        options, directory = _parse(arguments)
    except ValueError as error:
        _say(f"{error}\n{USAGE}")
        return WRONG_USAGE
    os.umask(0o022)
    # A re-exec and the log writer use it from other folders. Links stay: they may lead to another runtime then.
    sys.argv[0] = os.path.abspath(sys.argv[0])
    try:
        if "service" in options:
            return _supervise_one(options)
        return _supervise_all(options, directory)
    except _Fatal as error:
        _say(f"holdfast supervise: {error}\n")
        return error.code


def _parse(arguments: list[str]) -> tuple[dict[str, str], str]:
    options: dict[str, str] = {}
    rest = list(arguments)
    positional = []
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in ("--layout", "--log-user", "--exit-with", "--groups", "--service"):
            if not equals:
                if not rest:
                    raise ValueError(f"{name} needs a value")
                value = rest.pop(0)
            options[name[2:]] = value
        elif word == "--openrc":
            continue
        elif word.startswith("-"):
            raise ValueError(f"there is no option {word}")
        else:
            positional.append(word)
    if options.get("layout", status.RUNIT) not in status.LAYOUTS:
        raise ValueError(f"--layout: {options['layout']!r} is none of {', '.join(status.LAYOUTS)}")
    if len(positional) != (0 if "service" in options else 1):
        raise ValueError("one scan directory is needed, or --service DIR")
    return options, positional[0] if positional else ""


def _supervise_one(options: dict[str, str]) -> int:
    directory = os.path.abspath(options["service"])
    if not os.path.isdir(directory):
        raise _Fatal(UNUSABLE, f"{directory}: not a directory")
    host = Host(None, options.get("layout", status.RUNIT), None, _version())
    spawn.protect()
    try:
        one = Service(host, os.path.basename(directory), directory)
    except files.Busy:
        raise _Fatal(UNUSABLE, f"{directory}: another supervisor has it") from None
    except OSError as error:
        raise _Fatal(UNUSABLE, f"{error.filename}: {error.strerror}") from None
    host.services[one.name] = one
    host.loop.on_signal(signal.SIGCHLD, host.children.reap)
    recovery.recover(one, one.endpoint.read_record(), {})
    one.endpoint.open()

    def end() -> None:
        one.leave()
        one.down()

    host.loop.on_signal(signal.SIGTERM, end)
    host.loop.on_signal(signal.SIGINT, end)
    host.loop.on_signal(signal.SIGQUIT, host.leave)
    host.loop.run()
    return 0


def _supervise_all(options: dict[str, str], directory: str) -> int:
    scan = os.path.abspath(directory)
    _check(scan)
    own = scan + "/.holdfast"
    try:
        files.make_directory(own, 0o755)
        anew = "HOLDFAST_LOCK_FD" not in os.environ
        lock = _lock(own + "/lock")
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        host = Host(scan, options.get("layout", status.RUNIT), options.get("log-user"), _version())
        host.exit_with = options.get("exit-with")
        host.groups_unit = options.get("groups")
        host.openrc = os.path.isdir(scan + "/.openrc")
        spawn.protect()
        before = _hooks("before_daemon_start", host) if anew else 0
        if before and os.waitstatus_to_exitcode(os.waitpid(before, 0)[1]) != 0:
            raise _Fatal(UNUSABLE, f"{scan}: a hook of before_daemon_start keeps it from being started")
        if host.logs is not None:
            host.logs.open()
        files.replace(own + "/version", f"{host.version}\n".encode())
        host.loop.on_signal(signal.SIGTERM, host.stop)
        host.loop.on_signal(signal.SIGINT, host.stop)
        host.loop.on_signal(signal.SIGQUIT, host.leave)
        host.loop.on_signal(signal.SIGHUP, host.rescan_soon)
        host.open()
        host.watch_directory()
        host.rescan_soon()
        host.api = Api(host, own + "/socket")
        host.reexec_lock = lock
    except LookupError as error:
        raise _Fatal(UNUSABLE, str(error)) from None
    except OSError as error:
        raise _Fatal(UNUSABLE, f"{error.filename or scan}: {error.strerror}") from None
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # What is there now stays: the collector need not write to it, which after every fork would copy its pages.
    gc.collect()
    gc.freeze()
    _tell_manager("READY=1")
    if anew:
        # Its end is of no interest, and it is reaped as all children are.
        _hooks("after_daemon_start", host)
    host.loop.run()
    if host.stopping:
        files.remove(own + "/socket")
    return host.exit_code


def _check(scan: str) -> None:
    """Refuse a scan directory that somebody else could fill with programs for us to run."""
    try:
        found = os.stat(scan)
    except OSError as error:
        raise _Fatal(UNUSABLE, f"{scan}: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise _Fatal(UNUSABLE, f"{scan}: not a directory")
    if found.st_uid not in (0, os.geteuid()):
        raise _Fatal(UNUSABLE, f"{scan}: belongs to uid {found.st_uid}, who could have anything run here; chown it")
    if found.st_mode & 0o022:
        raise _Fatal(UNUSABLE, f"{scan}: others may write to it (mode {found.st_mode & 0o7777:04o}); chmod go-w it")


def _lock(path: str) -> int:
    """Take the lock that makes us the only supervisor of the scan directory.

    A re-exec hands it over. After a kill, children that were forked but have not become their program yet still hold
    it: once it is free, whoever was being started can be found.
    """
    handed = os.environ.pop("HOLDFAST_LOCK_FD", "")
    if handed.isdigit():
        descriptor = int(handed)
        try:
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                os.set_inheritable(descriptor, False)
                return descriptor
        except OSError:
            pass
    try:
        return files.lock_after(path, files.ORPHANED_LOCK, 0o644)
    except files.Busy:
        text = f"{os.path.dirname(path)}: another supervisor runs here (pid {_holder(path)})"
        raise _Fatal(LOCKED, text) from None


def _holder(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            text = file.read(32).strip()
    except OSError:
        return ""
    return text if text.isdigit() else ""


def _hooks(point: str, host: Host) -> int:
    """Start whoever runs the hooks of *point*, see docs/hooks.md, and give his pid; 0 if there can be none.

    In a process of its own, so that nothing of it stays with the supervisor, which does not wait for those behind.
    """
    scan = host.scan or ""
    if not os.path.isdir(f"{os.path.dirname(scan)}/hooks.d/{point}"):
        return 0
    start = spawn.Start(sys.executable, "/", spawn.base_environment())
    backend = "openrc" if host.openrc else "embedded"
    start.arguments = [sys.executable, "-I", "-S", sys.argv[0], "hooks", point, backend, scan]
    pid, _complaint = spawn.spawn(start)
    return pid


def _version() -> str:
    """Give the name of the runtime's directory, which is its version."""
    return os.path.basename(os.path.realpath(sys.argv[0]))


def _tell_manager(text: str) -> None:
    """Send *text* to the service manager that waits for it (sd_notify), if there is one."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.sendto(text.encode(), "\0" + path[1:] if path.startswith("@") else path)
        except OSError:
            pass


def _say(text: str) -> None:
    os.write(2, text.encode())
