# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of the log writer where no supervisor of ours keeps it. PRIVATE to the collection.

systemd runs the log writer, and keeps its FIFOs: they are handed to systemd's store of descriptors, so that a log writer
that dies leaves every FIFO with a reader, and no service notices.
"""

from __future__ import annotations

import array
import json
import os
import pwd
import signal
import socket

from .. import holding, log_table
from .._embedded import files
from .steps import OK, StepError, definition

SETTINGS = "settings.json"


def serve(scan: str, folder: str) -> int:
    """Bring table, FIFOs and systemd's store in line with the service directories of *scan*, and tell the log writer.

    folder: what they are in. Runs as root: before the log writer, and again (with MAINPID) at each reload. Raises OSError,
    StepError.
    """
    owner = _owner(scan)
    table, fifos = f"{folder}/logs", f"{folder}/fifo"
    # Given away below: nobody else may find them half made.
    os.umask(0o022)
    os.makedirs(folder, 0o755, exist_ok=True)
    files.make_directory(table, 0o755)
    files.make_directory(fifos, 0o710)
    if owner is not None:
        os.chown(table, *owner)
        os.chown(fifos, 0, owner[1])
    wanted = _logs(scan)
    for name, (log, ours) in wanted.items():
        path = f"{fifos}/{name}"
        if os.path.isfile(path):
            # Made by systemd for a service that was started when there was no FIFO yet.
            os.unlink(path)
        descriptor = files.open_fifo(path, 0o662, (0, owner[1]) if owner is not None else None)
        try:
            _store(name, descriptor)
        finally:
            os.close(descriptor)
        # While another backend may still write the log of one that is on its way, the FIFO alone is there.
        if ours or os.path.exists(f"{table}/{name}.json"):
            log_table.put(table, name, path, log)
    main_pid = os.environ.get("MAINPID", "")
    running = main_pid.isdigit() and main_pid != "0"
    for entry_name in os.listdir(table):
        name, dot, kind = entry_name.rpartition(".")
        # What a log writer that was killed has not read yet is written by the next one, from the FIFO.
        if dot and kind == "json" and name not in wanted and (running or not log_table.waiting(f"{fifos}/{name}")):
            files.remove(f"{table}/{entry_name}")
    for name in os.listdir(fifos):
        if name not in wanted and not os.path.exists(f"{table}/{name}.json"):
            files.remove(f"{fifos}/{name}")
            _notify(f"FDSTOREREMOVE=1\nFDNAME={encoded(name)}".encode(), None)
    if running:
        os.kill(int(main_pid), signal.SIGHUP)
    return OK


def _owner(scan: str) -> tuple[int, int] | None:
    """Give uid and gid of the log writer; None when it is whoever calls."""
    if os.geteuid() != 0:
        return None
    with open(f"{scan}/.systemd/{SETTINGS}", encoding="utf-8") as file:
        user = json.load(file).get("log_user")
    if not user:
        return None
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise StepError(f"there is no user {user!r} for the log writer") from None
    return account.pw_uid, account.pw_gid


def _logs(scan: str) -> dict[str, tuple[object, bool]]:
    """Give the logs that have a FIFO, each with whether it is ours to write: not while it is on its way, or to come."""
    found: dict[str, tuple[object, bool]] = {}
    for name in sorted(os.listdir(scan)):
        if name.startswith(".") or not os.path.exists(f"{scan}/{name}/holdfast.json"):
            continue
        standing = holding.standing(scan, name, "systemd")
        if standing == holding.ABSENT:
            continue
        try:
            log = definition(f"{scan}/{name}").get("log") or {}
        except StepError:
            # One damaged directory is no reason to leave all others without their logs.
            continue
        if log.get("to") in log_table.KEPT:
            found[name] = log, standing == holding.MINE
    return found


def encoded(name: str) -> str:
    """Give a log's name as systemd takes it for a descriptor: no colon."""
    return name.replace("@", "@a").replace(":", "@c")


def _store(name: str, descriptor: int) -> None:
    # A descriptor of the same file that is in the store already is not kept twice.
    _notify(f"FDSTORE=1\nFDPOLL=0\nFDNAME={encoded(name)}".encode(), descriptor)


def _notify(message: bytes, descriptor: int | None) -> None:
    """Send a message of the sd_notify(3) protocol, with a descriptor if there is one; nobody need listen."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.settimeout(10.0)
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        rights = (
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))] if descriptor is not None else []
        )
        channel.sendmsg([message], rights)
