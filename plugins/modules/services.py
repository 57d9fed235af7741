#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: services
short_description: Make the supervised services of a host what the inventory says
version_added: 0.1.0
author:
  - The holdfast.supervision authors (@holdfast)
description:
  - Converges all supervised services of a host in one task, whatever their number. Service directories are written,
    the supervisor is told once, and the task waits until every service is ready or has failed.
  - Everything that is wrong is found before anything is changed, and is reported at once.
  - A service whose definition has changed is restarted, that one alone. A service that does not come up, or that dies
    again and again, fails the task with its exit status and the last lines of its log; the others still converge.
  - A run that was interrupted is finished by the next one.
extends_documentation_fragment:
  - holdfast.supervision.attributes
  - holdfast.supervision.attributes.supervisor
attributes:
  check_mode:
    support: full
    details:
      - Nothing on the host is changed, and no state is assumed that was not looked at. On a host that has no scan
        directory or no supervisor yet all services are taken as new; what can't be looked at is listed in RV(unverified).
  diff_mode:
    support: full
    details:
      - There is one entry for each file, and one for the states of the services. Secrets are not shown.
  idempotent:
    support: full
options:
  services:
    description:
      - The definitions, by the name of the service. The keys of a definition are described in the documentation of the collection,
        in C(docs/definitions.md).
      - When this is omitted, the variable C(services_definitions) and every variable whose name begins with C(services_definitions__)
        are merged.
      - Read by the action plugin on the controller.
    type: dict
  defaults:
    description:
      - A definition that is merged under every other one. When it is omitted the variable C(services_defaults) is used.
      - Read by the action plugin on the controller.
    type: dict
  prune:
    description:
      - Remove services that this module has made and that are not defined any more.
      - What this module has not made is never touched.
    type: bool
    default: false
  log_directory:
    description:
      - The directory with one directory of log files for each service.
      - Defaults to V(/var/log/holdfast) for root, and to V(~/.holdfast/log) for other users.
    type: path
  runtime_directory:
    description:
      - Where the runtime is, which has to have the lease drivers of other collections that definitions name.
      - Defaults to V(/usr/local/lib/holdfast) for root, and to V(~/.holdfast/lib) for other users.
    type: path
  timeout:
    description:
      - How long to wait, in seconds, for all services together, after the supervisor was told.
    type: float
    default: 60
  command_check:
    description:
      - Whether the commands and directories of the definitions have to exist before anything is changed.
      - Say V(false) if applications are deployed after their services. What is missing is listed in RV(unverified) then.
    type: bool
    default: true
  offline:
    description:
      - Write and enable everything without a supervisor, as for an image or a chroot. No service is started and nothing is
        verified of it.
    type: bool
    default: false
  payload:
    description:
      - Set by the action plugin. Not for playbooks.
    type: str
  secrets:
    description:
      - Set by the action plugin. Not for playbooks.
    type: dict
seealso:
  - module: holdfast.supervision.service
  - module: holdfast.supervision.service_info
"""

EXAMPLES = r"""
- name: Converge what the inventory defines in services_definitions
  holdfast.supervision.services:

- name: Converge, and remove what is not defined any more
  holdfast.supervision.services:
    prune: true

- name: Two services, one of which needs the other
  holdfast.supervision.services:
    services:
      db:
        command: [/usr/local/bin/db, --foreground]
        user: db
        readiness:
          check: [/usr/local/bin/db, --ping]
      billing:
        command: [/usr/bin/python3, /srv/billing/worker.py]
        user: billing
        environment:
          PORT: "8080"
        secret_environment:
          DB_PASSWORD: "{{ vault_db_password }}"
        needs: [db]

- name: A service of the user who runs the play, in his home
  holdfast.supervision.services:
    services:
      worker:
        command: ["{{ ansible_facts.user_dir }}/bin/worker"]
  become: false
"""

RETURN = r"""
services:
  description: What became of each service, by its name.
  returned: always; empty when the task was refused
  type: dict
  contains:
    name:
      description: The name of the service.
      type: str
      returned: always
      sample: billing
    changed:
      description: Whether anything was changed for this service.
      type: bool
      returned: always
    actions:
      description:
        - What was done, in this order; in check mode what would be done.
        - Any of V(create), V(update), V(remove), V(start), V(stop), V(restart), V(reload), V(once), V(continue).
      type: list
      elements: str
      returned: always
      sample: [create, start]
    state:
      description:
        - The state after the run; in check mode the present one.
        - One of V(absent), V(unknown), V(down), V(waiting), V(starting), V(up), V(ready), V(stopping), V(finishing),
          V(backoff), V(scheduled), V(failed).
      type: str
      returned: always
      sample: ready
    pid:
      description: The process of the service, if there is one.
      type: int
      returned: always
      sample: 4711
    since:
      description: When the service was last started or ended, in seconds of unix time.
      type: float
      returned: always
      sample: 1763712000.25
    exit:
      description: How the last process of the service ended, if one has.
      type: dict
      returned: always
      contains:
        kind:
          description: V(exit), V(signal), or V(unknown) if the kernel could not tell.
          type: str
          returned: always
        code:
          description: The exit status, or the number of the signal.
          type: int
          returned: always
        at:
          description: When, in seconds of unix time.
          type: float
          returned: always
    restart_needed:
      description:
        - The running process was started with another definition than the present one, because the definition says
          C(on_change=nothing), or because this is check mode.
      type: bool
      returned: always
    reason:
      description: Why the service is not in the state that was asked for.
      type: str
      returned: when it is not
    log:
      description: The last lines of the log.
      type: list
      elements: str
      returned: when the service is not in the state that was asked for
actions:
  description: All actions of all services.
  returned: always
  type: list
  elements: str
  sample: ["billing: create", "billing: start"]
unverified:
  description: What could not be checked, because the host is not ready for it or O(command_check=false).
  returned: always
  type: list
  elements: str
problems:
  description: Why nothing was changed, one text for each problem.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._plan.places import OPTIONS
from ..module_utils._plan.tasks import services


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "services": {"type": "dict"},
            "defaults": {"type": "dict"},
            "prune": {"type": "bool", "default": False},
            "log_directory": {"type": "path"},
            "runtime_directory": {"type": "path"},
            "timeout": {"type": "float", "default": 60},
            "command_check": {"type": "bool", "default": True},
            "offline": {"type": "bool", "default": False},
            "payload": {"type": "str", "no_log": True},
            "secrets": {"type": "dict", "no_log": True},
            **OPTIONS,
        },
        supports_check_mode=True,
    )
    # Results are masked where secrets can be; replaced everywhere, a short one would destroy names and states.
    module.no_log_values.clear()
    result = services(module.params, check_mode=module.check_mode, with_diff=module._diff)
    for warning in result.pop("warnings", ()):
        module.warn(warning)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
