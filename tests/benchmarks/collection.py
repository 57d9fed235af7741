# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection under test: importable from a checkout, and its runtime as it lies on a host."""

from __future__ import annotations

import sys
import types
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent.parent

#: The interpreter that runs the supervisor on a host.
PYTHON = "/usr/bin/python3"


def make_importable() -> None:
    """Let ``ansible_collections.holdfast.supervision`` mean this checkout."""
    for name, path in (
        ("ansible_collections", []),
        ("ansible_collections.holdfast", []),
        ("ansible_collections.holdfast.supervision", [str(CHECKOUT)]),
    ):
        module = types.ModuleType(name)
        module.__path__ = path
        sys.modules[name] = module


def make_runtime(target: Path) -> Path:
    """Write the runtime, byte-compiled, into *target*."""
    from ansible_collections.holdfast.supervision.plugins.module_utils._runtime import install, interpreter
    from ansible_collections.holdfast.supervision.plugins.module_utils._supervise import programs
    from ansible_collections.holdfast.supervision.plugins.plugin_utils import pack

    for name, content in pack.runtime_files().items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    code, output, errors = install.byte_compile(
        str(target), str(target), interpreter.Interpreter(PYTHON, (), PYTHON), programs.run
    )
    if code:
        raise RuntimeError(output + errors)
    return target
