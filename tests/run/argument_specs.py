# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every public variable of a role is in its defaults and in its argument specs, with the same default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

#: Variables that a role's own task checks, since Ansible's check costs seconds with thousands of services and tells one error only. The
#: description of the role tells of them.
OF_THE_TASK = frozenset(("services_definitions", "services_defaults"))


def problems(tree: Path) -> list[str]:
    """One line per difference, in all roles below ``tree``."""
    found = []
    for role in sorted(path for path in (tree / "roles").glob("*") if path.is_dir()):
        found += [f"roles/{role.name}: {text}" for text in _of_role(role)]
    return found


def _load(path: Path) -> dict[str, Any]:
    import yaml  # the runner itself starts on a Python that does not have it

    return (yaml.safe_load(path.read_text()) if path.exists() else None) or {}


def _of_role(role: Path) -> list[str]:
    if not (role / "meta" / "argument_specs.yml").exists():
        return ["has no meta/argument_specs.yml"]
    defaults = _load(role / "defaults" / "main.yml")
    entry_points = _load(role / "meta" / "argument_specs.yml").get("argument_specs", {})
    options = (entry_points.get("main") or {}).get("options") or {}
    found = []
    for name in sorted({*defaults, *options}):
        if not name.startswith(f"{role.name}_"):
            found.append(f"{name} does not begin with {role.name}_")
        if name in OF_THE_TASK and name not in options:
            if f"C({name})" not in " ".join((entry_points.get("main") or {}).get("description") or ()):
                found.append(
                    f"{name} is neither an option of the argument specs of main nor told of in its description"
                )
        elif name not in options:
            found.append(f"{name} is in defaults/main.yml, but not in the argument specs of main")
        elif name not in defaults:
            if not options[name].get("required"):
                found.append(f"{name} is an option that is not required, and has no default in defaults/main.yml")
        elif options[name].get("required"):
            found.append(f"{name} has a default, so it is not required")
        elif _differs(defaults[name], options[name].get("default")):
            found.append(f"{name}: {defaults[name]!r} in the defaults, {options[name].get('default')!r} in the specs")
    return found


def _differs(default: object, documented: object) -> bool:
    """A default that is computed is documented by its description; any other is repeated in the specs."""
    if documented is None or (isinstance(default, str) and "{{" in default):
        return False
    return default != documented
