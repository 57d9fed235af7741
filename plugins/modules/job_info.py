#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: job_info
short_description: Tell what is known of jobs of the privileged helper
version_added: 0.1.0
author:
  - The holdfast.supervision authors (@holdfast)
description:
  - Tells of the jobs of the user who runs the task, and to root of those of everybody; waits for the end of one.
  - A job that failed does not make the task fail.
extends_documentation_fragment:
  - holdfast.supervision.attributes
  - holdfast.supervision.attributes.info
  - holdfast.supervision.attributes.helper
options:
  id:
    description:
      - The job that is asked for; all when omitted, without their outputs.
    type: str
  user:
    description:
      - The number of the user whose job it is, where that is not the one who runs the task. For root only.
    type: int
  until_ended:
    description:
      - Wait for the end of the job.
    type: bool
    default: false
  timeout:
    description:
      - Seconds after which the task fails when the job has not ended. The job goes on.
    type: float
    default: 300
seealso:
  - module: holdfast.supervision.helper_call
"""

EXAMPLES = r"""
- name: Wait for the end of a job
  holdfast.supervision.job_info:
    id: nightly-check
    until_ended: true
  register: check

- name: Look for lost ones
  holdfast.supervision.job_info:
  register: known
  failed_when: known.jobs | selectattr('state', 'equalto', 'lost') | length > 0
"""

RETURN = r"""
jobs:
  description: The jobs, the oldest first.
  returned: when the helper could be asked
  type: list
  elements: dict
  contains:
    id:
      description: Its name.
      type: str
      returned: always
    user:
      description: The number of the user whose it is.
      type: int
      returned: always
    operation:
      description: What it does.
      type: str
      returned: always
    parameters:
      description: What it was given; secrets are masked.
      type: dict
      returned: always
    state:
      description:
        - V(queued), V(running), V(done), V(failed), V(cancelled), or V(lost) when it had begun and nobody knows how it ended.
      type: str
      returned: always
    created:
      description: When it was asked for, in seconds since 1970.
      type: float
      returned: always
    began:
      description: When it began; null if it has not.
      type: float
      returned: always
    ended:
      description: When it ended; null if it has not.
      type: float
      returned: always
    progress:
      description: What it said last of its progress, with C(percent) (may be null) and C(text); null if it said nothing.
      type: dict
      returned: always
    stdout:
      description: The end of what it wrote to its standard output so far; null without O(id).
      type: str
      returned: always
    stderr:
      description: The end of what it wrote to its standard error so far; null without O(id).
      type: str
      returned: always
    truncated:
      description: Whether it wrote more than is kept.
      type: bool
      returned: always
    exit:
      description: The exit code, or minus the signal that ended it; null if it has none.
      type: int
      returned: always
    result:
      description: What a function returned.
      type: raw
      returned: always
    error:
      description: Why it did not end by itself, such as V(cancelled), V(timeout), V(cannot_start), V(raised) or V(lost).
      type: str
      returned: always
    message:
      description: More of that, in words.
      type: str
      returned: always
error:
  description: The kind of the failure, such as V(NoSuchJob) or V(HelperGone).
  returned: when the helper could not be asked
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._helper.task import jobs


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "id": {"type": "str"},
            "user": {"type": "int"},
            "until_ended": {"type": "bool", "default": False},
            "timeout": {"type": "float", "default": 300},
            "socket": {"type": "path", "default": "/run/holdfast-helper/socket"},
            "wait": {"type": "float", "default": 30},
        },
        required_by={"user": ["id"]},
        supports_check_mode=True,
    )
    module.exit_json(**jobs(module.params))


if __name__ == "__main__":
    main()
