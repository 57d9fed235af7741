# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The generated Varlink interface: each operation is a method with typed parameters. PRIVATE to the collection.

`rescan_scsi` is RescanScsi. A caller is shown the methods that it may call and no others, as with the method Operations
of the fixed interface: what somebody may do tells something about a host, and what he may not is none of his business.
A generated method has no id; who wants one, or has parameters that no identifier can name, has the fixed interface.
"""

from __future__ import annotations

from .parameters import described

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .operations import Operation

INTERFACE = "io.holdfast.Operations"

_RESULT = "(exit: int, stdout: string, stderr: string, truncated: bool, duration: float)"
_HEAD = f"""\
# The operations that this caller may call, each as a method. Errors and results are those of io.holdfast.Helper.Call.
interface {INTERFACE}
"""


def method_name(operation: str) -> str:
    """Give the name of the method of an operation."""
    return "".join(part[:1].upper() + part[1:] for part in operation.split("_"))


def collisions(operations: Iterable[str]) -> list[tuple[str, str]]:
    """Give the pairs of operations whose methods would have one name."""
    found: dict[str, str] = {}
    return [(found[method], one) for one in operations if found.setdefault(method := method_name(one), one) != one]


def describe(operations: Iterable[Operation], errors: str) -> str:
    """Give the text of the interface. errors: the lines that declare them."""
    lines = [_HEAD]
    for one in operations:
        lines += [f"# {text}" for text in one.description.splitlines() if text.strip()]
        fields = []
        for name, parameter in one.parameters.items():
            if parameter.get("description"):
                lines.append(f"# {name}: {parameter['description']}")
            if parameter["type"] == "descriptor":
                lines.append(f"# {name}: is a descriptor, named by its place among those that come with the message")
            optional = "" if required(parameter) else "?"
            fields.append(f"{name}: {optional}{described(parameter)}")
        lines.append(f"method {method_name(one.name)}({', '.join(fields)}) -> {_RESULT}\n")
    return "\n".join([*lines, errors])


def required(parameter: dict[str, Any]) -> bool:
    """Say whether a call without this parameter is refused."""
    return bool(parameter.get("required", "default" not in parameter))
