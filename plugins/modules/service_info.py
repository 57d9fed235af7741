#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: service_info
short_description: Tell what is known of supervised services
version_added: 0.1.0
author:
  - The holdfast.supervision authors (@holdfast)
description:
  - Reads the service directories and asks the supervisor. Changes nothing, and does not fail for what is not there.
extends_documentation_fragment:
  - holdfast.supervision.attributes
  - holdfast.supervision.attributes.info
  - holdfast.supervision.attributes.supervisor
options:
  names:
    description:
      - The services that are asked for, in this order. A service that does not exist has a record that says so.
      - All services of the scan directory when omitted, sorted by name.
    type: list
    elements: str
seealso:
  - module: holdfast.supervision.services
  - module: holdfast.supervision.service
"""

EXAMPLES = r"""
- name: Ask for all services
  holdfast.supervision.service_info:
  register: all_services

- name: Show those that are not ready
  ansible.builtin.debug:
    msg: "{{ all_services.services | rejectattr('ready') | map(attribute='name') }}"

- name: Ask for one service
  holdfast.supervision.service_info:
    names: [billing]
"""

RETURN = r"""
backend:
  description: The backend that was asked; with O(backend=auto) the one that is there.
  returned: always
  type: str
  sample: embedded
supervisor:
  description: The supervisor of the scan directory; null when none runs, or it could not be asked.
  returned: always
  type: dict
  contains:
    pid:
      description: Its process.
      type: int
      returned: always
    version:
      description: The version of the runtime that it runs.
      type: str
      returned: always
    since:
      description: When it was started, in seconds of unix time.
      type: float
      returned: always
    scan:
      description: The scan directory.
      type: str
      returned: always
    log_writer_pid:
      description: The process that writes the logs.
      type: int
      returned: always
hooks:
  description:
    - The hooks around the start of the supervisor. They are those of C(hooks.d) beside the scan directory.
    - The keys are V(before_daemon_start) and V(after_daemon_start), each with its hooks in the order in which they run.
  returned: always
  type: dict
  sample:
    before_daemon_start: [{path: /etc/holdfast/hooks.d/before_daemon_start/10-route, problem: "", sha256: 9f86d081884c7d65}]
    after_daemon_start: []
services:
  description: One record for each service.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The name of the service.
      type: str
      returned: always
    exists:
      description: Whether there is a service directory of that name.
      type: bool
      returned: always
    foreign:
      description: Whether the directory was made by somebody else than this collection.
      type: bool
      returned: always
    owner:
      description: Which part of the collection has made it. V(services) is the module M(holdfast.supervision.services).
      type: str
      returned: always
    definition:
      description: The content of C(holdfast.json); null for a foreign directory. Has no secrets.
      type: dict
      returned: always
    identity:
      description: Names the present definition; compared with that of the running process.
      type: str
      returned: always
    enabled:
      description: Whether the service is started together with its supervisor.
      type: bool
      returned: always
    hooks:
      description:
        - The hooks around its start and its stop; null when its definition asks for none.
        - The keys are V(before_start), V(after_start), V(before_stop) and V(after_stop). Each has its hooks in the order in which they
          run, with C(path), C(sha256) (empty if the file cannot be read) and C(problem), which says why it is refused and is empty
          otherwise.
      type: dict
      returned: always
    log_directory:
      description: Where its log files are; null if it has none.
      type: str
      returned: always
    state:
      description: As in the result of M(holdfast.supervision.services).
      type: str
      returned: always
      sample: ready
    pid:
      description: Its process, if there is one.
      type: int
      returned: always
    since:
      description: When the service was last started or ended, in seconds of unix time.
      type: float
      returned: always
    ready:
      description: Whether it is ready.
      type: bool
      returned: always
    want:
      description: What the supervisor is to do, V(up), V(down) or V(once).
      type: str
      returned: always
    deaths:
      description: How often it has ended since it is supervised.
      type: int
      returned: always
    exit:
      description: How its last process ended, with C(kind), C(code) and C(at).
      type: dict
      returned: always
    next:
      description: When a periodic service runs next, in seconds of unix time; null while it runs, and for others.
      type: float
      returned: always
    reason:
      description: A sentence for people if something is not well.
      type: str
      returned: always
    restart_needed:
      description: Whether the running process was started with another definition than the present one.
      type: bool
      returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._plan.information import service_info
from ..module_utils._plan.places import OPTIONS


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"names": {"type": "list", "elements": "str"}, **OPTIONS},
        supports_check_mode=True,
    )
    result = service_info(module.params)
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
