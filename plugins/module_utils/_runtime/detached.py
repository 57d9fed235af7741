# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts a program that outlives whoever starts it. PRIVATE to the collection."""

from __future__ import annotations

import os
import pwd
import signal

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def environment() -> dict[str, str]:
    """Give what an init would give: nothing of the session that this was called from must reach the services."""
    variables = {"PATH": _PATH, "LANG": "C.UTF-8"}
    uid = os.geteuid()
    if uid != 0:
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            variables["HOME"] = "/"
        else:
            variables.update(HOME=entry.pw_dir, USER=entry.pw_name, LOGNAME=entry.pw_name)
    return variables


def start(command: list[str], log: str, given: int | None = None) -> None:
    """Start *command* in a session of its own, as a child of init, with its output appended to the file *log*.

    given: the descriptor that is its standard input, instead of nothing.
    Returns as soon as the program runs. Raises OSError if it can not be executed, or *log* not be opened; then
    nothing runs.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    middle = os.fork()
    if middle == 0:
        _become(command, log, writer, given)
    os.close(writer)
    with open(reader, "rb") as pipe:
        os.waitpid(middle, 0)
        failure = pipe.read()
    if failure:
        code = int(failure.decode("ascii").split(":", 1)[0])
        raise OSError(code, os.strerror(code), failure.decode("utf-8", "replace").split(":", 1)[1])


def _become(command: list[str], log: str, writer: int, given: int | None) -> None:
    # In a forked child: whatever happens, it must not go on as a second copy of its parent.
    where = log
    try:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        os.chdir("/")
        os.umask(0o022)
        null = os.open(os.devnull, os.O_RDONLY) if given is None else given
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o640)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for name in os.listdir("/proc/self/fd"):
            descriptor = int(name)
            if descriptor > 2 and descriptor != writer:
                try:
                    os.close(descriptor)
                except OSError:
                    pass  # the one that listed the directory
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for number in (signal.SIGPIPE, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        where = command[0]
        os.execve(command[0], command, environment())
    except OSError as error:
        os.write(writer, f"{error.errno}:{where}".encode())
    finally:
        os._exit(127)
