#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: helper_call
short_description: Call an operation of the privileged helper
version_added: 0.1.0
author:
  - The holdfast.supervision authors (@holdfast)
description:
  - Runs one of the operations that the helper of the host offers to the user who runs the task; no C(become) is needed.
  - Fails when the operation is refused, and when its program ends with another exit code than 0.
extends_documentation_fragment:
  - holdfast.supervision.attributes
  - holdfast.supervision.attributes.helper
attributes:
  check_mode:
    support: partial
    details:
      - Only operations that are declared as pure are called. All others are skipped and foretold as a change.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - As the operation is. One that is not pure is always reported as a change.
options:
  operation:
    description:
      - The name of the operation.
    type: str
    required: true
  parameters:
    description:
      - Its parameters.
    type: dict
  secret_parameters:
    description:
      - Those of its parameters that nobody may see in a log.
    type: dict
  id:
    description:
      - The name of this call, 1 to 64 letters, digits, C(_) and C(-). The same call with the same name is not made twice.
    type: str
  asynchronous:
    description:
      - Begin the operation as a job and do not wait for its end. It must be declared as one that may be.
      - An operation that always is a job is waited for unless this is true; it then survives a restart of the helper meanwhile.
    type: bool
    default: false
seealso:
  - module: holdfast.supervision.job_info
  - module: holdfast.supervision.services
"""

EXAMPLES = r"""
- name: Look for new disks
  holdfast.supervision.helper_call:
    operation: rescan_disks

- name: Mount a share
  holdfast.supervision.helper_call:
    operation: mount_share
    parameters:
      share: backup

- name: Begin a long one
  holdfast.supervision.helper_call:
    operation: check_disk
    id: "check-{{ ansible_facts.date_time.date }}"
    asynchronous: true

- name: Wait for its end
  holdfast.supervision.job_info:
    id: "check-{{ ansible_facts.date_time.date }}"
    until_ended: true
    timeout: 3600
  register: check
  failed_when: check.jobs[0].state != 'done'
"""

RETURN = r"""
rc:
  description: The exit code of the program, or minus the signal that ended it.
  returned: when it was run
  type: int
stdout:
  description: What it wrote to its standard output.
  returned: when it was run
  type: str
stderr:
  description: What it wrote to its standard error.
  returned: when it was run
  type: str
truncated:
  description: Whether it wrote more than is kept.
  returned: when it was run
  type: bool
result:
  description: What the function returned, where the operation is one.
  returned: when the function returned something
  type: raw
duration:
  description: How long it ran, in seconds.
  returned: when it was run
  type: float
job:
  description: The job that was begun, see M(holdfast.supervision.job_info).
  returned: with O(asynchronous=true)
  type: dict
error:
  description: The kind of the failure, such as V(NotAllowed), V(BadParameter), V(Timeout), V(HelperGone) or V(OutcomeUnknown).
  returned: when the helper did not run it to its end
  type: str
id:
  description: The name under which the outcome can be asked for later.
  returned: when nobody knows how the call ended
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._helper.task import call


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "operation": {"type": "str", "required": True},
            "parameters": {"type": "dict"},
            "secret_parameters": {"type": "dict", "no_log": True},
            "id": {"type": "str"},
            "asynchronous": {"type": "bool", "default": False},
            "socket": {"type": "path", "default": "/run/holdfast-helper/socket"},
            "wait": {"type": "float", "default": 30},
        },
        supports_check_mode=True,
    )
    module.exit_json(**call(module.params, module.check_mode))


if __name__ == "__main__":
    main()
