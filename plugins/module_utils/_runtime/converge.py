# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module `runtime` does: compare, tell, and bring one runtime directory to one version.

PRIVATE to the collection.
"""

from __future__ import annotations

import os
import shlex

from . import archive, install, interpreter
from .cleanup import remove_own_parents
from .files import MARKER, read_text, write_text
from .interpreter import Runner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Refused(Exception):
    """What is asked for would change something that is not ours, or that is in use; nothing was changed."""


class Wanted:
    """What one host is to have: all paths absolute; without a payload an absent version can only be reported."""

    __slots__ = ("command", "directory", "payload", "python", "scan_directory", "version")

    def __init__(
        self,
        directory: str,
        command: str | None,
        python: str,
        scan_directory: str | None,
        version: str,
        payload: str | None,
    ) -> None:
        self.directory = directory
        self.command = command
        self.python = python
        self.scan_directory = scan_directory
        self.version = version
        self.payload = payload


def present(wanted: Wanted, run: Runner, check_mode: bool) -> dict[str, Any]:
    """Have the wanted version in place, current, compiled and tested. Give the module's result.

    `needs_payload` is true, and nothing is changed, when the version has to be installed and was not sent along.
    Raises interpreter.Unfit, archive.BadArchive, install.InstallError, Refused, OSError. After any of them `current`
    names what it named before.
    """
    interpreter.check_kernel()
    if os.geteuid() == 0:
        interpreter.check_path(wanted.python)
    layout = install.Layout(wanted.directory)
    identity = interpreter.identity(wanted.python)
    whole = install.is_whole(layout, wanted.version)
    compiled = whole and install.is_compiled(layout, wanted.version, identity)
    active = layout.active()
    text = command_text(wanted)
    text_before = _read_ours(wanted.command)

    found = None if compiled else interpreter.probe(wanted.python, run)
    actions = []
    if not whole:
        actions.append(f"install runtime {wanted.version}")
    elif found is not None:
        actions.append(f"compile runtime {wanted.version} for Python {'.'.join(map(str, found.version))}")
    if active != wanted.version:
        actions.append(
            f"switch from runtime {active} to {wanted.version}" if active else f"use runtime {wanted.version}"
        )
    if wanted.command and text != text_before:
        actions.append(f"write {wanted.command}")

    result: dict[str, Any] = {
        "changed": bool(actions),
        "actions": actions,
        "version": wanted.version,
        "previous": active if active != wanted.version else layout.named_by(layout.previous),
        "pruned": [],
        "needs_payload": not whole and wanted.payload is None and not check_mode,
        "diff": [
            {
                "before_header": wanted.directory,
                "after_header": wanted.directory,
                "before": f"runtime: {active}\n" if active else "",
                "after": f"runtime: {wanted.version}\n",
            }
        ],
    }
    if not whole or not compiled:
        state = "absent or damaged" if not whole else "not compiled for this Python"
        result["diff"][0]["before"] += f"version {wanted.version}: {state}\n"
        result["diff"][0]["after"] += f"version {wanted.version}: compiled and tested\n"
    if wanted.command:
        result["diff"].append(
            {
                "before_header": wanted.command,
                "after_header": wanted.command,
                "before": text_before or "",
                "after": text,
            }
        )
    if not actions or check_mode or result["needs_payload"]:
        return result

    # Whatever the caller's is: the compiler makes files, and the log writer's user must be able to read them.
    umask = os.umask(0o022)
    try:
        with install.locked(layout):
            _change(wanted, layout, whole, found, identity, run)
            if wanted.command and text != text_before:
                write_text(wanted.command, text, 0o755)
            install.switch(layout, wanted.version)
            if active != wanted.version or not whole:
                result["pruned"] = install.prune(layout)
    finally:
        os.umask(umask)
    return result


def absent(directory: str, command: str | None, check_mode: bool) -> dict[str, Any]:
    """Remove the runtime and the command file. Give the module's result. Raises Refused, OSError.

    Refused while a process still runs from any of the versions; foreign files stay.
    """
    layout = install.Layout(directory)
    versions = layout.present()
    active = layout.active()
    text = _read_ours(command)
    used = [version for version in versions if install.in_use(layout.tree(version))]
    if used and not check_mode:
        raise Refused(f"a running process uses the runtime {', '.join(used)}: stop the supervisor first")
    actions = []
    if versions or active or os.path.isdir(layout.versions):
        actions.append(f"remove {directory}")
    if text is not None:
        actions.append(f"remove {command}")
    result: dict[str, Any] = {
        "changed": bool(actions),
        "actions": actions,
        "version": None,
        "previous": active,
        "pruned": versions,
        "needs_payload": False,
        "diff": [
            {
                "before_header": directory,
                "after_header": directory,
                "before": "".join(f"version {version}\n" for version in versions),
                "after": "",
            }
        ],
    }
    if text is not None:
        result["diff"].append({"before_header": command, "after_header": command, "before": text, "after": ""})
    if check_mode or not actions:
        return result
    install.remove(layout)
    remove_own_parents(directory)
    if text is not None and command:
        os.unlink(command)
        remove_own_parents(command)
    return result


def _change(
    wanted: Wanted,
    layout: install.Layout,
    whole: bool,
    found: interpreter.Interpreter | None,
    identity: dict[str, object],
    run: Runner,
) -> None:
    if found is None:
        return
    if whole:
        install.compile_again(layout, wanted.version, found, identity, run)
        return
    files = archive.decode(wanted.payload or "", wanted.version)
    install.install(layout, wanted.version, files, found, identity, run)


def command_text(wanted: Wanted) -> str:
    """Give the command file: a person types one word, and it finds this host's runtime and services."""
    lines = ["#!/bin/sh", MARKER]
    if wanted.scan_directory:
        lines.append(f'[ -n "${{HOLDFAST_SCAN:-}}" ] || export HOLDFAST_SCAN={shlex.quote(wanted.scan_directory)}')
    current = os.path.join(wanted.directory, "current", "__main__.py")
    lines.append(f'exec {shlex.quote(wanted.python)} -I -S {shlex.quote(current)} "$@"')
    return "\n".join(lines) + "\n"


def _read_ours(path: str | None) -> str | None:
    """Give the text of the command file; None when there is none. Raises Refused when somebody else made it."""
    if not path:
        return None
    text = read_text(path)
    if text is not None and MARKER not in text.splitlines():
        raise Refused(f"{path} exists and was not made by holdfast.supervision: move it away or choose another path")
    return text
