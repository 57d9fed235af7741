# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`holdfast selftest`: whether this runtime could take over here. PRIVATE to the collection."""

from __future__ import annotations

import importlib
import os
import pkgutil

from .exits import FAILED, NO_SUPERVISOR, OK, CommandError
from .places import scan_directory
from .terminal import complain, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace


def selftest(options: Namespace) -> int:
    """Import every module of the runtime, and try what its daemons need of Python.

    With a scan directory, read its state with this runtime's own code. Changes nothing. Exit code 0 only if all went well.
    """
    problems = _load_all()
    if not problems:
        from .._lean import trial

        problems = [f"_lean.{problem}" for problem in trial.problems()]
    if options.directory or options.scan:
        problems += _read_state(scan_directory(options.directory or options.scan))
    for problem in problems:
        complain(f"holdfast: {problem}")
    if not problems:
        write("ok")
    return FAILED if problems else OK


def _load_all() -> list[str]:
    root = importlib.import_module(__package__.rpartition(".")[0])
    problems = []

    def unreadable(name: str) -> None:
        problems.append(f"{name}: cannot be imported")

    for module in pkgutil.walk_packages(root.__path__, root.__name__ + ".", onerror=unreadable):
        try:
            importlib.import_module(module.name)
        except Exception as error:
            problems.append(f"{module.name}: {type(error).__name__}: {error}")
    return problems


def _read_state(scan: str) -> list[str]:
    from .orphans import recorded
    from .places import service_names
    from .supervisor import Supervisor

    problems = []
    for name in service_names(scan):
        if os.path.exists(os.path.join(scan, name, "supervise", "record")):
            try:
                recorded(scan, name)
            except (OSError, ValueError) as error:
                problems.append(f"{name}: its record cannot be read: {error}")
    try:
        with Supervisor(scan) as supervisor:
            supervisor.status()
    except CommandError as error:
        if error.code != NO_SUPERVISOR:
            problems.append(error.message)
    return problems
