#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lease
short_description: Hold a lease around a play, or change what a running service holds
version_added: 0.1.0
author:
  - The holdfast.supervision authors (@holdfast)
description:
  - With O(state=held) and O(state=released) a play makes sure that it is the only one of its kind. The lease is held by a small
    program of the runtime that stays on the host after the task, until it is released, its time is over, or it is broken.
  - With O(state=present) and O(state=absent) a service that runs under a lease gets one more resource, or gives one back,
    without being stopped.
  - With O(state=handed_over) a service's leases move to another service of the same host, which stands by.
  - The runtime has to be on the host that the task runs on, see M(holdfast.supervision.runtime).
extends_documentation_fragment:
  - holdfast.supervision.attributes
  - holdfast.supervision.attributes.store
attributes:
  check_mode:
    support: full
    details:
      - With O(wait) it cannot be foretold whether somebody else gives the lease back in time; that is foretold as a change.
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - O(state=held) by the same O(owner) is no change; the end of the lease is put off by it.
options:
  name:
    description:
      - The name of the resource; letters, digits and C(_.@:+-), 64 at most. Or C(disk:PATH) for a block device, or a file that
        is used as one, of the host. It is the same resource by whatever path.
      - Not used by O(state=handed_over), where it is a name for messages only.
    type: str
    required: true
  state:
    description:
      - V(held) gets the lease for O(owner), or puts off its end if O(owner) has it.
      - V(released) gives it back if O(owner) has it.
      - V(broken) takes it from whoever holds it for a play on this host. This is logged, and needs a O(reason). The token of
        whoever had it is not the greatest any more.
      - V(present) and V(absent) change what the running O(service) holds.
      - V(handed_over) moves all that O(service) holds to the service O(to), and stops O(service).
    type: str
    choices: [held, released, broken, present, absent, handed_over]
    default: held
  owner:
    description:
      - Who holds the lease. The same text again is the same owner, also from another controller; so it has to tell this run of a
        play from every other. Needed by V(held) and V(released).
    type: str
  ttl:
    description:
      - Seconds after which V(held) ends by itself, so that a play that was killed blocks nobody for good. Long enough for
        the whole play, or repeat the task.
      - With V(handed_over) the seconds during which nobody else gets what neither of the two services has.
    type: float
    default: 600
  wait:
    description:
      - Seconds to wait for somebody else who has it. V(0) fails at once.
      - With V(handed_over) the seconds that O(service) may need for its end, 30 if it is V(0).
    type: float
    default: 0
  mode:
    description:
      - Several may hold a lease as V(shared), if all of them do, and several as V(readonly), if all of them do.
      - The driver V(sanlock) does not know V(readonly).
    type: str
    choices: [exclusive, shared, readonly]
    default: exclusive
  reason:
    description:
      - Why a lease is broken.
    type: str
  service:
    description:
      - The service with a lease that is changed by V(present), V(absent) and V(handed_over).
    type: str
  to:
    description:
      - The service that gets what O(service) holds. It has to stand by.
    type: str
  id:
    description:
      - The number of the hand-over. The same again goes on with one that was interrupted.
      - The names of the two services are used if it is omitted.
    type: str
  safety:
    description:
      - V(strict) refuses V(held) while a safety hole of driver or store is open. With V(standard) they are warnings.
    type: str
    choices: [strict, standard]
    default: standard
  scan_directory:
    description:
      - The scan directory of the supervisor that runs O(service).
      - Defaults to V(/etc/holdfast/services) for root, and to V(~/.holdfast/services) for other users.
    type: path
  runtime_directory:
    description:
      - Where the runtime is.
      - Defaults to V(/usr/local/lib/holdfast) for root, and to V(~/.holdfast/lib) for other users.
    type: path
  python:
    description:
      - The interpreter that runs the program that holds the lease. Absolute.
    type: path
    default: /usr/bin/python3
seealso:
  - module: holdfast.supervision.lease_info
  - module: holdfast.supervision.services
"""

EXAMPLES = r"""
- name: Name this run; the same name in all of its tasks
  ansible.builtin.set_fact:
    lease_owner: "migrate-{{ now(utc=true).strftime('%Y%m%dT%H%M%S%f') }}"
  run_once: true

- name: Migrate the database, one play at a time
  block:
    - name: Be the only one
      holdfast.supervision.lease:
        name: migration
        owner: "{{ lease_owner }}"
        ttl: 1800
        wait: 120
      register: mutex

    - name: Do it
      ansible.builtin.command: /srv/db/migrate --fencing-token {{ mutex.token }}
      changed_when: true
  always:
    - name: Let others in
      holdfast.supervision.lease:
        name: migration
        owner: "{{ lease_owner }}"
        state: released

- name: The same for plays of several controllers that work on different hosts
  holdfast.supervision.lease:
    name: rolling-upgrade
    owner: "{{ lease_owner }}"
    driver: etcd
    parameters:
      endpoints: [https://etcd1.example.com:2379, https://etcd2.example.com:2379]
      ca_file: /etc/holdfast/etcd-ca.pem
  delegate_to: controller.example.com

- name: Take the lease away from a run that will not come back
  holdfast.supervision.lease:
    name: migration
    state: broken
    reason: Controller a was switched off in the middle of a run

- name: Give a running service one more disk
  holdfast.supervision.lease:
    name: disk-7
    service: storage
    state: present

- name: Move what one service holds to the other
  holdfast.supervision.lease:
    name: billing
    service: billing-blue
    to: billing-green
    state: handed_over
"""

RETURN = r"""
name:
  description: The resource.
  returned: success
  type: str
state:
  description: The state that was asked for.
  returned: success
  type: str
token:
  description:
    - The fencing token of the lease. Every grant of a resource has a greater one than all before it.
    - With V(broken) the token that was drawn to make the one of the former owner stale.
  returned: if a lease was got, or broken
  type: int
  sample: 42
tokens:
  description: The new token of each resource.
  returned: when the task has handed over
  type: dict
owner:
  description: Who holds it.
  returned: with O(state=held)
  type: str
valid_until:
  description: When it ends by itself, in seconds of unix time.
  returned: with O(state=held)
  type: float
  sample: 1763712000.25
holders:
  description: Who has it, as RV(ignore:leases[].holders) of M(holdfast.supervision.lease_info).
  returned: when somebody else has it
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._lease.task import lease


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {
                "type": "str",
                "choices": ["held", "released", "broken", "present", "absent", "handed_over"],
                "default": "held",
            },
            "owner": {"type": "str"},
            "ttl": {"type": "float", "default": 600},
            "wait": {"type": "float", "default": 0},
            "mode": {"type": "str", "choices": ["exclusive", "shared", "readonly"], "default": "exclusive"},
            "reason": {"type": "str"},
            "service": {"type": "str"},
            "to": {"type": "str"},
            "id": {"type": "str"},
            "safety": {"type": "str", "choices": ["strict", "standard"], "default": "standard"},
            "driver": {"type": "str", "default": "file"},
            "parameters": {"type": "dict", "default": {}},
            "scan_directory": {"type": "path"},
            "runtime_directory": {"type": "path"},
            "python": {"type": "path", "default": "/usr/bin/python3"},
        },
        required_if=[
            ("state", "held", ["owner"]),
            ("state", "released", ["owner"]),
            ("state", "broken", ["reason"]),
            ("state", "present", ["service"]),
            ("state", "absent", ["service"]),
            ("state", "handed_over", ["service", "to"]),
        ],
        supports_check_mode=True,
    )
    result = lease(module.params, module.check_mode)
    for warning in result.pop("warnings", ()):
        module.warn(warning)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
