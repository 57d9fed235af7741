#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_members
short_description: Wait for an etcd, and change who is a member of it
version_added: 0.1.0
author:
  - The holdfast.supervision authors (@holdfast)
description:
  - Waits until an etcd answers a read that needs the majority of its members.
  - Removes members that are not wanted any more, and makes room for one whose disk is empty. That one gets a new identity; its
    former one is removed first, as etcd demands of a member that has forgotten what it voted for.
  - Refuses what would leave less than a majority that answers.
  - The role P(holdfast.supervision.leases#role) uses it. Needs nothing but Python on the host that it runs on.
extends_documentation_fragment:
  - holdfast.supervision.attributes
  - holdfast.supervision.attributes.etcd
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  user:
    description:
      - The user of etcd, who needs the role C(root) if anything is to be changed. An etcd that has no authentication enabled is asked without.
    type: str
  password_file:
    description:
      - The file with the user's password. Only root may read it.
    type: path
  members:
    description:
      - All that are to be members, name to peer's address. Others are removed. If omitted, nothing is changed.
    type: dict
  join:
    description:
      - The one of O(members) that begins with an empty disk.
    type: str
  timeout:
    description:
      - Seconds to wait for the etcd.
    type: float
    default: 60
"""

EXAMPLES = r"""
- name: The etcd serves
  holdfast.supervision.etcd_members:
    endpoints: [https://etcd1.example.com:2379]
    ca_file: /etc/holdfast/etcd/ca.pem
    cert_file: /etc/holdfast/etcd/client.pem
    key_file: /etc/holdfast/etcd/client.key

- name: Make room for etcd3, which has a new disk
  holdfast.supervision.etcd_members:
    endpoints: [https://etcd1.example.com:2379, https://etcd2.example.com:2379]
    ca_file: /etc/holdfast/etcd/ca.pem
    cert_file: /etc/holdfast/etcd/client.pem
    key_file: /etc/holdfast/etcd/client.key
    members:
      etcd1: https://etcd1.example.com:2380
      etcd2: https://etcd2.example.com:2380
      etcd3: https://etcd3.example.com:2380
    join: etcd3
"""

RETURN = r"""
removed:
  description: Who was removed, by name; in check mode, who would be.
  returned: success
  type: list
  elements: str
added:
  description: The peer's address that was added; empty if it is in the list already.
  returned: success
  type: str
initial_cluster:
  description: What the one that joins has to be told as C(initial-cluster).
  returned: success
  type: str
  sample: etcd1=https://etcd1.example.com:2380,etcd3=https://etcd3.example.com:2380
members:
  description: The members, each with C(id), C(name) (empty if it has never started) and C(peer_urls).
  returned: success
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._lease._etcd.membership import etcd_members


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "endpoints": {"type": "list", "elements": "str", "required": True},
            "ca_file": {"type": "path"},
            "cert_file": {"type": "path"},
            "key_file": {"type": "path"},
            "user": {"type": "str"},
            "password_file": {"type": "path", "no_log": False},
            "members": {"type": "dict"},
            "join": {"type": "str"},
            "timeout": {"type": "float", "default": 60},
        },
        required_by={"join": ["members"]},
        required_together=[["cert_file", "key_file"], ["user", "password_file"]],
        supports_check_mode=True,
    )
    result = etcd_members(module.params, module.check_mode)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
