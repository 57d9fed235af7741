# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Steps that an init which is not ours runs beside a service: before its start, around it, and after its end.

They supply what the init has no word for: directories that root makes safely, readiness by a descriptor or a command,
`finish` with a time limit, and the table of the log writer. None stays resident, except that `ready` waits while the
service does not say that it is ready. PRIVATE to the collection.
"""

from __future__ import annotations

import json
import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The file of a service's readiness, in its own folder of the run directory.
READY = "ready"
OK, FAILED, USAGE = 0, 1, 100


class StepError(Exception):
    """The step cannot be done; the text says why."""


def main(argv: list[str]) -> int:
    """Do the step `argv[0]` of the service directory `argv[1]`, whose folder of the run directory is `argv[2]`.

    Returns 0, 1 with a line on standard error after a failure, 100 for wrong arguments; `run` does not return.
    """
    step = _STEPS.get(argv[0]) if len(argv) == 3 else None
    if step is None:
        _say("usage: step prepare|run|ready|finish SERVICE_DIRECTORY STATE_DIRECTORY, step logs SCAN FOLDER")
        return USAGE
    try:
        return step(argv[1], argv[2])
    except StepError as error:
        _say(str(error))
    except OSError as error:
        _say(f"{error.filename or argv[1]}: {error.strerror or error}")
    return FAILED


def definition(directory: str) -> dict[str, Any]:
    """Give the content of holdfast.json. Raises StepError."""
    try:
        with open(f"{directory}/holdfast.json", encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError) as error:
        raise StepError(f"{directory}/holdfast.json: {error}") from None
    if not isinstance(content, dict):
        raise StepError(f"{directory}/holdfast.json is damaged")
    return content


def prepare(directory: str, state: str) -> int:
    """Make what the service needs before it starts; as root. The file of an earlier start is replaced."""
    from ..._process_state.apply import StateError, account_of, make_directories

    meta = definition(directory)
    process = meta.get("process") or {}
    try:
        make_directories(process)
        account = account_of(process)
    except StateError as error:
        raise StepError(f"{directory}: {error}") from None
    if (meta.get("readiness") or {}).get("notification_fd") is not None:
        os.makedirs(state, 0o711, exist_ok=True)
        path = f"{state}/{READY}"
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        # No FIFO: what is in one is gone when the last who has it open closes it, maybe before anybody listens.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if os.geteuid() == 0:
                os.fchown(descriptor, *account)
        finally:
            os.close(descriptor)
    return OK


def run(directory: str, state: str) -> int:
    """Become the service, with its readiness descriptor open, or its parent (see _attend). Raises OSError, StepError."""
    meta = definition(directory)
    number = (meta.get("readiness") or {}).get("notification_fd")
    if number is not None:
        _open_readiness(state, int(number))
    if not meta.get("health"):
        os.execv(f"{directory}/run", [f"{directory}/run"])
    from .._attend import attend

    return attend.main([directory, "-", "nothing"])


def _open_readiness(state: str, number: int) -> None:
    """Open the file of readiness under the number that the service knows. Raises OSError, StepError."""
    descriptor = os.open(f"{state}/{READY}", os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise StepError(f"{state}/{READY} is no regular file")
    if descriptor == number:
        os.set_inheritable(descriptor, True)
    else:
        os.dup2(descriptor, number)


def ready(directory: str, state: str) -> int:
    """Wait until the service is ready, or its main process (MAINPID) has gone; how that ended is the init's to judge.

    No time limit: what is slow today is not killed in the middle of its recovery.
    """
    from . import waiting

    main_pid = os.environ.get("MAINPID", "")
    if not main_pid.isdigit():
        raise StepError("MAINPID is not set: this step is for an init that says which process the service is")
    readiness = definition(directory).get("readiness") or {}
    try:
        process = os.pidfd_open(int(main_pid))
    except ProcessLookupError:
        return OK
    try:
        if readiness.get("notification_fd") is not None:
            waiting.notified(f"{state}/{READY}", process)
        elif readiness.get("check"):
            waiting.checked(f"{directory}/check", float(readiness["interval"]), process)
        else:
            waiting.ended(process, float(readiness.get("grace") or 0.0))
        return OK
    finally:
        os.close(process)


def finish(directory: str, state: str) -> int:
    """Run `finish` after an end of the service, with what systemd says of it (EXIT_CODE, EXIT_STATUS).

    It is killed with all of its process group after finish_timeout. Its own exit code does not count.
    """
    from . import waiting

    del state
    kind, value = os.environ.get("EXIT_CODE", ""), os.environ.get("EXIT_STATUS", "")
    if kind == "exited" and value.isdigit():
        arguments = [value, "0"]
    else:
        import signal

        number = getattr(signal, f"SIG{value}", None)
        arguments = ["-1", str(int(number)) if number is not None else "0"]
    timeout = float(definition(directory).get("finish_timeout") or 0.0)
    if waiting.finished([f"{directory}/finish", *arguments], timeout) is None:
        _say(f"finish still ran after {timeout:g} s and was killed")
    return OK


def logs(scan: str, folder: str) -> int:
    """Bring the table of the log writer into line; see logs.serve."""
    from .logs import serve

    return serve(scan, folder)


def _say(message: str) -> None:
    sys.stderr.write(f"holdfast step: {message}\n")
    sys.stderr.flush()


_STEPS = {"prepare": prepare, "run": run, "ready": ready, "finish": finish, "logs": logs}
