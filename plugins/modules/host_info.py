#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Tell what a host offers to services
version_added: 0.1.0
author:
  - The holdfast.supervision authors (@holdfast)
description:
  - Looks at init, control groups, kernel, Python, clock, watchdogs, virtualisation, file systems and network of a host.
  - The kernel's features are asked for one by one and not guessed from its version. None of the questions changes anything, no
    watchdog is opened, and no network file system is waited for.
  - Does not fail for what is not there.
extends_documentation_fragment:
  - holdfast.supervision.attributes
  - holdfast.supervision.attributes.info
options:
  subjects:
    description:
      - What to look at.
      - Everything when omitted.
    type: list
    elements: str
    choices: [cgroups, clock, init, kernel, network, storage, virtualisation, watchdogs]
    default: []
  python:
    description: The interpreter that is to run the supervisor. It is looked at and not run.
    type: path
    default: /usr/bin/python3
seealso:
  - module: holdfast.supervision.host_facts
"""

EXAMPLES = r"""
- name: What does this host offer?
  holdfast.supervision.host_info:
  register: host

- name: Limits of memory need control groups of version 2
  ansible.builtin.assert:
    that: "'memory' in host.cgroups.controllers"

- name: Ask for the init alone
  holdfast.supervision.host_info:
    subjects: [init]
  register: host
"""

RETURN = r"""
hostname:
  description: The name that the kernel has.
  returned: always
  type: str
  sample: web1
machine_id:
  description: The machine id. Two hosts with the same one are copies of one another.
  returned: always
  type: str
  sample: 0a1b2c3d4e5f60718293a4b5c6d7e8f9
user:
  description: Who asks, with C(uid) and C(root).
  returned: always
  type: dict
  sample: {uid: 0, root: true}
python:
  description: O(python) as it is found.
  returned: always
  type: dict
  contains:
    path:
      description: O(python).
      type: str
      returned: always
    program:
      description: What it leads to.
      type: str
      returned: always
      sample: /usr/bin/python3.11
    problem:
      description: A sentence if root must not rely on it; empty otherwise.
      type: str
      returned: always
    running:
      description: The version of the Python that runs this module.
      type: str
      returned: always
      sample: 3.11.2
    floor:
      description: The oldest version that the supervisor runs on.
      type: str
      returned: always
      sample: "3.9"
init:
  description: Process 1.
  returned: when asked for
  type: dict
  contains:
    name:
      description: What kind of init it is; V(unknown) as in most containers.
      type: str
      returned: always
      choices: [busybox, daemontools, dinit, embedded, openrc, runit, s6, supervisord, systemd, sysvinit, unknown]
    program:
      description: Its name.
      type: str
      returned: always
    command:
      description: Its command line.
      type: str
      returned: always
cgroups:
  description: The control groups.
  returned: when asked for
  type: dict
  contains:
    version:
      description: V(2) where the unified hierarchy has the controllers, V(1) where the legacy ones have them, V(0) without any.
      type: int
      returned: always
    mount:
      description: Where the unified hierarchy is mounted; empty if it is not.
      type: str
      returned: always
    controllers:
      description: What the unified hierarchy controls.
      type: list
      elements: str
      returned: always
      sample: [cpu, io, memory, pids]
    own:
      description: The group of the asking process.
      type: str
      returned: always
    writable:
      description: Whether that group can be changed.
      type: bool
      returned: always
    kill:
      description: Whether all of a group can be killed at once (Linux 5.14).
      type: bool
      returned: always
kernel:
  description: The kernel.
  returned: when asked for
  type: dict
  contains:
    release:
      description: Its release.
      type: str
      returned: always
      sample: 6.1.0-28-amd64
    architecture:
      description: The machine's architecture.
      type: str
      returned: always
      sample: x86_64
    boot_id:
      description: The name of this boot.
      type: str
      returned: always
    security_modules:
      description: The security modules that are active.
      type: list
      elements: str
      returned: always
      sample: [lockdown, capability, apparmor]
    features:
      description: Name to whether the kernel lets this user have it.
      type: dict
      returned: always
      sample: {ofd_locks: true, pidfd_open: true, peer_pidfd: false}
clock:
  description: The C(source) that the kernel measures time with, and those that are C(available).
  returned: when asked for
  type: dict
  sample: {source: tsc, available: [tsc, hpet]}
watchdogs:
  description: The watchdogs, each with C(device), C(identity), C(timeout) in seconds, and whether it is C(active).
  returned: when asked for
  type: list
  elements: dict
  sample: [{device: /dev/watchdog0, identity: Software Watchdog, timeout: 60, active: false}]
virtualisation:
  description: The names of C(hypervisor) and C(container); empty where there is none, V(other) where its name is not known.
  returned: when asked for
  type: dict
  sample: {hypervisor: kvm, container: ""}
storage:
  description: The mounted file systems that can hold files.
  returned: when asked for
  type: list
  elements: dict
  contains:
    mount:
      description: Where it is mounted.
      type: str
      returned: always
    type:
      description: Its type.
      type: str
      returned: always
      sample: ext4
    source:
      description: What is mounted there.
      type: str
      returned: always
      sample: /dev/vda1
    network:
      description: Whether other hosts may have it mounted too.
      type: bool
      returned: always
    read_only:
      description: Whether nothing can be written.
      type: bool
      returned: always
    size:
      description: Bytes in all; null for a network file system, which is not asked.
      type: int
      returned: always
    free:
      description: Bytes that an ordinary user can still write; null as C(size).
      type: int
      returned: always
network:
  description: The network interfaces.
  returned: when asked for
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      returned: always
      sample: eth0
    mac:
      description: Its hardware address.
      type: str
      returned: always
    mtu:
      description: The largest packet in bytes.
      type: int
      returned: always
    up:
      description: Whether it is switched on.
      type: bool
      returned: always
    link:
      description: Whether there is a link.
      type: bool
      returned: always
    addresses:
      description: Its addresses, with the length of the prefix.
      type: list
      elements: str
      returned: always
      sample: [192.0.2.7/24]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._host.information import SUBJECTS, host_info


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "subjects": {"type": "list", "elements": "str", "choices": sorted(SUBJECTS), "default": []},
            "python": {"type": "path", "default": "/usr/bin/python3"},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, **host_info(module.params["subjects"], module.params["python"]))


if __name__ == "__main__":
    main()
