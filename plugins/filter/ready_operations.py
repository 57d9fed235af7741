# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A filter that writes ready operations out."""

from __future__ import annotations

DOCUMENTATION = r"""
name: ready_operations
short_description: Write the ready operations of the privileged helper out
version_added: 0.1.0
description:
  - Gives operations as the helper reads them. Those that say C(ready) become what they stand for, the others stay as they are.
  - Everything that is wrong with any of them is told at once, before anything is sent to a host.
author:
  - the holdfast.supervision authors
positional: command
options:
  _input:
    description: The operations, name to definition.
    type: dict
    required: true
  command:
    description: The command of the runtime on the host.
    type: path
    required: true
  scan_directory:
    description: The scan directory of the supervisor whose services may be controlled.
    type: path
    default: /etc/holdfast/services
seealso:
  - name: The ready operations, and what each can be misused for
    description: They are described with the helper.
    link: https://example.org/holdfast/supervision/docs/ready-operations.md
"""

EXAMPLES = r"""
- name: Show what the helper is told
  ansible.builtin.debug:
    msg: "{{ helper_operations | holdfast.supervision.ready_operations('/usr/local/bin/holdfast') }}"
  vars:
    helper_operations:
      mtu:
        ready: link_mtu
        links: [eth1]
        allow: [{user: agent}]
"""

RETURN = r"""
_value:
  description: The operations, none of which says C(ready).
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.holdfast.supervision.plugins.plugin_utils.plain import plain
from ansible_collections.holdfast.supervision.plugins.plugin_utils.ready import expand


def ready_operations(operations: Any, command: str, scan_directory: str = "/etc/holdfast/services") -> dict[str, Any]:
    """Do it."""
    try:
        return expand(plain(operations), str(command), str(scan_directory))
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Give the filters of this file."""
        return {"ready_operations": ready_operations}
