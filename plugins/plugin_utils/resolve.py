# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates in variables of the inventory are resolved, each error with the path of its variable. PRIVATE to the collection."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError, AnsibleValueOmittedError
from ansible.parsing.vault import VaultHelper
from ansible.template import Templar

from ansible_collections.holdfast.supervision.plugins.module_utils._definition.problem import SECRET, Problem

from .plain import plain

_OMITTED = object()
#: Keys of a definition whose values are in files that everybody on the host can read, and those of commands in lists of processes.
_OPEN = re.compile(r"\.(environment\.[^.]*|(command|finish|stop_command|check)\[[0-9]+\])$").search


class Unresolved(Problem):
    """What Ansible said of a template that can't be resolved, or not yet."""


def resolve(templar: Templar, value: Any, path: str, problems: list[Problem]) -> Any:
    """Return the value of a variable as plain Python, with all templates in it resolved.

    What cannot be resolved becomes a problem and null. What resolves to omit is left out. Only text that may be a
    template goes through Ansible's templating, which costs much more than looking.
    """
    result = _resolve(templar, value, path, problems)
    return None if result is _OMITTED else result


def _resolve(templar: Templar, value: Any, path: str, problems: list[Problem]) -> Any:
    if isinstance(value, str):
        if "{" not in value and not value.startswith("#jinja2:"):
            # Such as a fact that was set to one of a vault.
            _check_open(value, path, problems)
            return plain(value)
    elif isinstance(value, Mapping):
        items = {plain(key): _resolve(templar, item, f"{path}.{key}", problems) for key, item in value.items()}
        return {key: item for key, item in items.items() if item is not _OMITTED}
    elif isinstance(value, (list, tuple)):
        found = [_resolve(templar, item, f"{path}[{index}]", problems) for index, item in enumerate(value)]
        return [item for item in found if item is not _OMITTED]
    try:
        resolved = templar.template(value)
        from_vault(resolved, path, problems)
        return plain(resolved)
    except AnsibleValueOmittedError:
        return _OMITTED
    except AnsibleError as error:
        problems.append(Unresolved(path, "", message(error)))
        return None


def from_vault(value: Any, path: str, problems: list[Problem]) -> None:
    """Find values of a vault, in what is resolved already, that would be in files which everybody can read."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            from_vault(item, f"{path}.{key}", problems)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            from_vault(item, f"{path}[{index}]", problems)
    else:
        _check_open(value, path, problems)


def _check_open(value: Any, path: str, problems: list[Problem]) -> None:
    if _OPEN(path) and VaultHelper.get_ciphertext(value, with_tags=False):
        where = "in files" if ".environment." in path else "in files and lists of processes"
        problems.append(
            Problem(
                path,
                SECRET,
                f"comes from a vault, and would be {where} that everybody can read",
                "use secret_environment",
            )
        )


def message(error: AnsibleError) -> str:
    """Return what an error of Ansible says, as one line."""
    text = " ".join(str(error).split())
    return text.partition(" on the Ansible Controller.")[0]
