# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`holdfast hooks`: the hooks around the start of the supervisor. PRIVATE to the collection.

    holdfast hooks before_daemon_start|after_daemon_start [--of PID] BACKEND SCANDIR

They are those of `hooks.d` beside the scan directory, /etc/holdfast/hooks.d on a host that root has set up.
--of: the process that is about to become the root process of a suite; the hooks wait until it has.
Exit codes: 0 go on, 1 the supervisor is not to be started, 2 wrong usage.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

from . import hooks

USAGE = "usage: holdfast hooks before_daemon_start|after_daemon_start [--of PID] BACKEND SCANDIR\n"
#: In the run directory: the folder that those before and those after the start share.
STATE = "hooks"
#: Seconds that the hooks of one point have together.
LIMIT = 30.0
#: Seconds after a refusal: an init that starts its daemons again at once is not to spin.
_PAUSE = 1.0
#: Seconds in which a process must have become the root process, and between two looks.
_ARRIVAL, _LOOK = 10.0, 0.02
#: Bytes of a hook's complaint that are told.
_COMPLAINT = 1000


def main(arguments: list[str]) -> int:
    """Run the hooks of one point; returns the exit code."""
    rest = list(arguments)
    pid = 0
    if len(rest) == 5 and rest[1] == "--of" and rest[2].isdigit():
        pid = int(rest[2])
        del rest[1:3]
    if len(rest) != 3 or rest[0] not in hooks.DAEMON_POINTS:
        _say(USAGE)
        return 2
    point, backend, scan = rest[0], rest[1], os.path.abspath(rest[2])
    os.umask(0o022)
    if pid and not _has_become(pid):
        return 0
    before = point == hooks.BEFORE_DAEMON_START
    state = os.path.join(scan, ".holdfast", STATE)
    try:
        failure = _prepare(state, before) or run(hooks.directory_of(scan), point, backend, scan, state)
    finally:
        if not before:
            shutil.rmtree(state, ignore_errors=True)
    if failure and before:
        _say(f"holdfast hooks: {backend} is not started\n")
        time.sleep(_PAUSE)
        return 1
    return 0


def run(directory: str, point: str, backend: str, scan: str, state: str, limit: float = LIMIT) -> str:
    """Run the hooks of *point* until one says stop. Gives why nothing may go on, "" if it may; failures are told."""
    try:
        found = hooks.find(directory, point)
    except hooks.BadHook as error:
        _say(f"{error}\n")
        return str(error)
    own = {"HOLDFAST_BACKEND": backend, "HOLDFAST_SCAN": scan}
    environment = hooks.environment(own, point, state, {})
    deadline = time.monotonic() + limit
    for path in found:
        failure, stop = _hook([path, point, backend], environment, deadline)
        if failure:
            _say(f"{failure}\n")
        if stop:
            return failure
    return ""


def _hook(command: list[str], environment: dict[str, str], deadline: float) -> tuple[str, bool]:
    """Run one hook in a session of its own. Gives what went wrong and whether nothing may follow."""
    complaint = os.memfd_create("complaint", os.MFD_CLOEXEC)
    try:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=2,
                stderr=complaint,
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            return f"hook {command[0]} failed ({error.strerror})", True
        status: int | None = None
        try:
            code = process.wait(max(deadline - time.monotonic(), 0.0))
            status = code << 8 if code >= 0 else -code
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        text = os.pread(complaint, _COMPLAINT, max(os.fstat(complaint).st_size - _COMPLAINT, 0))
    finally:
        os.close(complaint)
    said = text.decode("utf-8", "replace").strip()
    failure, stop = hooks.judge(command[0], status, said)
    if said and not failure:
        _say(f"hook {command[0]}: {said}\n")
    return failure, stop


def _prepare(state: str, anew: bool) -> str:
    """Have the shared folder there, *anew* an empty one; gives why not."""
    try:
        if anew:
            shutil.rmtree(state, ignore_errors=True)
        # Where nobody has made the run directory yet, as a link that leads nowhere says.
        os.makedirs(os.path.realpath(os.path.dirname(state)), 0o755, exist_ok=True)
        os.makedirs(state, 0o700, exist_ok=True)
    except OSError as error:
        _say(f"{error.filename}: {error.strerror}\n")
        return f"{error.filename}: {error.strerror}"
    return ""


def _has_become(pid: int) -> bool:
    """Wait until the process that runs the script which has called us is another program; False if it has ended."""
    deadline = time.monotonic() + _ARRIVAL
    first = _command(pid)
    while first:
        now = _command(pid)
        if now != first or not any(word.endswith(b"/.begin") for word in first[:3]):
            return bool(now)
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK)
    return False


def _command(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
