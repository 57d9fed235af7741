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
  - holdfast.supervision.converging
notes:
  - What is sent to a host has the code of its backend and of no other. For other backends than V(embedded) and V(openrc) the action
    plugin has M(holdfast.supervision.services_suite), M(holdfast.supervision.services_systemd) or
    M(holdfast.supervision.services_supervisord) run in place of this module. Nobody else needs to.
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
        - Any of V(create), V(update), V(rename), V(remove), V(register), V(start), V(stop), V(restart), V(reload), V(once), V(continue).
        - V(rename) is that of the former name of a service; V(register) means that the supervisor was told of what is there already.
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

from ..module_utils._plan.tasks import SPEC, run
from ..module_utils._supervise.embedded import Embedded
from ..module_utils._supervise.openrc import OpenRc


def main() -> None:
    """Run the module."""
    run(AnsibleModule(argument_spec=SPEC, supports_check_mode=True), (Embedded, OpenRc))


if __name__ == "__main__":
    main()
