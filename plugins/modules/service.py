#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: service
short_description: Start, stop, restart or enable one supervised service
version_added: 0.1.0
author:
  - The holdfast.supervision authors (@holdfast)
description:
  - Steers one service that is in the scan directory already. To define services use M(holdfast.supervision.services).
  - Takes the options of M(ansible.builtin.service), so that it can stand in for that module in roles of other people; see the examples.
  - A name that is not in the scan directory is handed to the service manager of the host (systemd, OpenRC, or init scripts).
  - Waits until the service is ready or at rest, and fails with its exit status and its last log lines when it does not get there.
extends_documentation_fragment:
  - holdfast.supervision.attributes
  - holdfast.supervision.attributes.supervisor
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - The states V(restarted) and V(reloaded) always do something, and so does V(once) when the service is not running.
options:
  name:
    description: The name of the service.
    type: str
    required: true
  state:
    description:
      - V(started) and V(stopped) do nothing if the service is in that state.
      - V(restarted) always restarts it, and V(reloaded) always has it read its configuration again; both start a service that does
        not run.
      - V(once) has it run one time, without restarting it when it ends.
      - The definition in the inventory has the last word. The next run of M(holdfast.supervision.services) brings the service back into
        the state that it says.
      - At least one of O(state) and O(enabled) is required.
    type: str
    choices: [started, stopped, restarted, reloaded, once]
  enabled:
    description:
      - Whether the service is started together with its supervisor, as at boot.
    type: bool
  timeout:
    description:
      - How long to wait for the service, in seconds.
      - When omitted V(60), or as long as its definition allows (C(readiness.timeout), after C(stop_timeout) and C(finish_timeout) where it is stopped)
        if that is longer.
    type: float
  sleep:
    description: Ignored. A restart waits for the end of the process.
    type: int
  pattern:
    description: Ignored. The supervisor knows its processes.
    type: str
  runlevel:
    description: Ignored for supervised services; the runlevel of OpenRC for services of the host.
    type: str
  arguments:
    description: Ignored for supervised services; given to init scripts of the host.
    type: str
    aliases: [args]
  daemon_reload:
    description: Ignored for supervised services; lets systemd read its units again before a service of the host is changed.
    type: bool
    default: false
  daemon_reexec:
    description: Ignored.
    type: bool
    default: false
  no_block:
    description: Ignored.
    type: bool
    default: false
  force:
    description: Ignored.
    type: bool
  scope:
    description: Ignored. Which services are meant is said by O(scan_directory).
    type: str
    choices: [system, user, global]
  use:
    description: Ignored. It is what M(ansible.builtin.service) was told, when this module stands in for it.
    type: str
seealso:
  - module: holdfast.supervision.services
  - module: ansible.builtin.service
"""

EXAMPLES = r"""
- name: Restart a service
  holdfast.supervision.service:
    name: billing
    state: restarted

- name: Stop it, and keep it down after a reboot
  holdfast.supervision.service:
    name: billing
    state: stopped
    enabled: false

- name: Let roles of other people steer supervised services
  hosts: all
  module_defaults:
    ansible.builtin.service:
      use: holdfast.supervision.service
  roles:
    - somebody.else.role
"""

RETURN = r"""
name:
  description: The name of the service.
  returned: success
  type: str
  sample: billing
state:
  description: V(started) or V(stopped), as M(ansible.builtin.service) says it.
  returned: success
  type: str
  sample: started
enabled:
  description: Whether the service is started together with its supervisor.
  returned: success
  type: bool
actions:
  description: What was done, or would be done. Any of V(enable), V(disable), V(start), V(stop), V(restart), V(reload), V(once).
  returned: success
  type: list
  elements: str
  sample: [restart]
manager:
  description: Who has done it. V(embedded), or the service manager of the host.
  returned: success
  type: str
  sample: embedded
status:
  description: What the supervisor says of the service after the run; in check mode before it.
  returned: for supervised services
  type: dict
  sample: {state: ready, pid: 4711, since: 1763712000.25, exit: null, reason: ""}
log:
  description: The last lines of the log.
  returned: when the service did not get into the state
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._plan.places import OPTIONS
from ..module_utils._plan.single import service


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["started", "stopped", "restarted", "reloaded", "once"]},
            "enabled": {"type": "bool"},
            "timeout": {"type": "float"},
            "sleep": {"type": "int"},
            "pattern": {"type": "str"},
            "runlevel": {"type": "str"},
            "arguments": {"type": "str", "aliases": ["args"]},
            "daemon_reload": {"type": "bool", "default": False},
            "daemon_reexec": {"type": "bool", "default": False},
            "no_block": {"type": "bool", "default": False},
            "force": {"type": "bool"},
            "scope": {"type": "str", "choices": ["system", "user", "global"]},
            "use": {"type": "str"},
            **OPTIONS,
        },
        required_one_of=[("state", "enabled")],
        supports_check_mode=True,
    )
    result = service(module.params, module, check_mode=module.check_mode)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
