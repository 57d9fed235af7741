#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lease_info
short_description: Tell who holds what under which lease
version_added: 0.1.0
author:
  - The holdfast.supervision authors (@holdfast)
description:
  - Asks the guards of this host, and for O(names) the store of the leases. Changes nothing, and does not fail for what is not there.
extends_documentation_fragment:
  - holdfast.supervision.attributes
  - holdfast.supervision.attributes.info
  - holdfast.supervision.attributes.store
options:
  services:
    description:
      - The guards that are asked for, by the names of their services. All of this host when omitted.
    type: list
    elements: str
  names:
    description:
      - Resources whose holders the store is asked for.
    type: list
    elements: str
  probe:
    description:
      - Whether driver and store are judged too, see RV(probe). Makes nothing but the store's own directory.
    type: bool
    default: false
  scan_directory:
    description:
      - The scan directory of the supervisor that runs the services.
      - Defaults to V(/etc/holdfast/services) for root, and to V(~/.holdfast/services) for other users.
    type: path
  runtime_directory:
    description:
      - Where the runtime is, which has the drivers of other collections.
      - Defaults to V(/usr/local/lib/holdfast) for root, and to V(~/.holdfast/lib) for other users.
    type: path
seealso:
  - module: holdfast.supervision.lease
"""

EXAMPLES = r"""
- name: Who runs the migration
  holdfast.supervision.lease_info:
    names: [migration]
  register: leases

- name: Show it
  ansible.builtin.debug:
    msg: "{{ leases.leases[0].holders | map(attribute='owner') }}"

- name: Which services of this host are active
  holdfast.supervision.lease_info:
  register: leases

- name: Show them
  ansible.builtin.debug:
    msg: "{{ leases.guards | selectattr('phase', 'equalto', 'active') | map(attribute='name') }}"

- name: Whether the store of the leases keeps its promise
  holdfast.supervision.lease_info:
    driver: etcd
    parameters: "{{ leases_parameters }}"
    probe: true
  register: leases

- name: Show what is open
  ansible.builtin.debug:
    msg: "{{ leases.probe.problem or leases.probe.holes }}"
"""

RETURN = r"""
guards:
  description: One record for each guard that lives on this host, of services and of plays.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The service; of a play's lease the resource.
      type: str
      returned: always
    kind:
      description: V(service), or V(holder) for a lease that is held for a play or a host.
      type: str
      returned: always
    owner:
      description: For whom it is held; empty for a service.
      type: str
      returned: always
    mode:
      description: V(guard), or V(exec) for a service that has none. Nobody answers for such a one; the record is what it has written down before its start.
      type: str
      returned: always
    phase:
      description: V(standby) (in line), V(active), V(stopping), V(killing) or V(releasing).
      type: str
      returned: always
      sample: active
    since:
      description: Since when it is in this phase, in seconds of unix time.
      type: float
      returned: always
    pid:
      description: The guard's process, or that of the service if it has none.
      type: int
      returned: always
    tree:
      description: The first process of the service's tree, 0 if there is none.
      type: int
      returned: always
    driver:
      description: Who keeps the lease.
      type: str
      returned: always
    parameters:
      description: The parameters of its driver.
      type: dict
      returned: always
    containment:
      description: What ties the service to its guard.
      type: str
      returned: always
    resources:
      description: What it holds, each with C(name), C(mode) and C(token).
      type: list
      elements: dict
      returned: always
    wants:
      description: The names of what it was told to hold.
      type: list
      elements: str
      returned: always
    disks:
      description: Of resources that are disks the paths by which this host has them, by their names.
      type: dict
      returned: always
    valid_until:
      description: When what it holds ends unless it is renewed or extended, in seconds of unix time; null if it does not.
      type: float
      returned: always
    ttl:
      description: Seconds for which what it holds is good; null if for ever, or if nobody answers.
      type: float
      returned: always
    renewals:
      description: How renewals went since its start; null where nothing is renewed, or nobody answers. C(count), of which C(failed), and
        C(slow), which took more than a tenth of C(ttl); C(last), C(worst) and C(sum), seconds that one and all of them took; C(took), a
        list that says with C(le) and C(count) how many took no longer than so many seconds, failed ones too.
      type: dict
      returned: always
    handover:
      description: The hand-over that is under way, with C(id), C(role) and C(other); null if there is none.
      type: dict
      returned: always
    holes:
      description: The ways in which two holders may come to be in spite of the lease, each with C(name) and C(text).
      type: list
      elements: dict
      returned: always
    answers:
      description: Whether there is a guard and it has answered. If not, the record is what it has written down.
      type: bool
      returned: always
    problem:
      description: Why it has not answered.
      type: str
      returned: always
leases:
  description: One record for each of O(names), in this order.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The resource.
      type: str
      returned: always
    holders:
      description: Who holds it by the word of its store. Nothing should be decided by it; it may have changed since.
      type: list
      elements: dict
      returned: always
      contains:
        name:
          description: The name under which the store has the holder.
          type: str
          returned: always
        owner:
          description: For whom it is held; of a service the same as the name.
          type: str
          returned: always
        host:
          description: The host that holds it, if the holder has said so.
          type: str
          returned: always
        pid:
          description: The process that holds it, on its host.
          type: int
          returned: always
        mode:
          description: V(exclusive), V(shared) or V(readonly).
          type: str
          returned: always
        token:
          description: The fencing token.
          type: int
          returned: always
        since:
          description: Since when, in seconds of unix time.
          type: float
          returned: always
        until:
          description: When it ends by itself, in seconds of unix time; null if it does not, or is renewed until its holder ends.
          type: float
          returned: always
        alive:
          description: Whether the holder lives; null where nobody can tell from here.
          type: bool
          returned: always
    handover:
      description: The hand-over for which it is kept, with C(id), C(source), C(target) and C(stage); null if there is none.
      type: dict
      returned: always
    waiters:
      description: Who on this host stands in line for it.
      type: list
      elements: str
      returned: always
    problem:
      description: Why the store could not be asked.
      type: str
      returned: always
probe:
  description: What driver and store are worth on this host.
  returned: with O(probe=true)
  type: dict
  contains:
    driver:
      description: The driver.
      type: str
      returned: always
    capabilities:
      description: What it can do; with V(remote) holders of several hosts exclude each other.
      type: list
      elements: str
      returned: always
    limits:
      description: C(most_resources), how many resources one service can have, null for any number, and C(shortest_ttl), how many
        seconds a grant has to be good for. Null if the driver cannot be used.
      type: dict
      returned: always
    holes:
      description: The ways in which two holders may come to be in spite of a lease, each with C(name) and C(text), which has the cure.
      type: list
      elements: dict
      returned: always
    exec:
      description: What is open beyond C(holes), and what is lost, for services with C(lease.mode=exec), as C(holes) and C(losses), each
        with C(name) and C(text). Null if the driver needs a guard.
      type: dict
      returned: always
    facts:
      description: What else is worth knowing, such as versions, members, and known faults of these versions.
      type: dict
      returned: always
    host:
      description: The host's own name, by which stores tell it from others.
      type: str
      returned: always
    machine_id:
      description: What is in C(/etc/machine-id); empty if there is nothing.
      type: str
      returned: always
    problem:
      description: Why driver or store cannot be used; empty if they can.
      type: str
      returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._lease.drivers import use_runtime
from ..module_utils._lease.information import lease_info
from ..module_utils._lease.task import guards_of, runtime_of


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "services": {"type": "list", "elements": "str"},
            "names": {"type": "list", "elements": "str"},
            "driver": {"type": "str", "default": "file"},
            "parameters": {"type": "dict", "default": {}},
            "probe": {"type": "bool", "default": False},
            "scan_directory": {"type": "path"},
            "runtime_directory": {"type": "path"},
        },
        supports_check_mode=True,
    )
    use_runtime(runtime_of(module.params["runtime_directory"]))
    module.exit_json(**lease_info(module.params, guards_of(module.params["scan_directory"])))


if __name__ == "__main__":
    main()
