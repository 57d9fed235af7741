#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_users
short_description: Let an etcd know who may use it for leases
version_added: 0.1.0
author:
  - The holdfast.supervision authors (@holdfast)
description:
  - Makes a user who may read and write what leases are made of and nothing else, and enables authentication. The user C(root), which
    etcd needs for that, gets a password too.
  - Passwords are read from files on the host that the task runs on. They are in no argument, result or log.
  - From the moment on at which authentication is enabled, etcd answers nobody who has no user. Leases that are held without one run
    out, and their services end.
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
  prefix:
    description:
      - What the keys of leases begin with, as in the parameters of the driver.
    type: str
    default: /holdfast/leases
  user:
    description:
      - The user of the leases. His role has the same name, and no other permissions than this module gives it.
    type: str
    required: true
  password_file:
    description:
      - The file with his password. Only root may read it. If etcd knows another one, it is changed there.
    type: path
    required: true
  root_password_file:
    description:
      - The file with the password of etcd's C(root). Only root may read it. If authentication is enabled, it has to be the one that
        etcd knows.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Leases have a user of their own
  holdfast.supervision.etcd_users:
    endpoints: [https://etcd1.example.com:2379]
    ca_file: /etc/holdfast/etcd/ca.pem
    cert_file: /etc/holdfast/etcd/client.pem
    key_file: /etc/holdfast/etcd/client.key
    user: leases
    password_file: /etc/holdfast/etcd/password
    root_password_file: /etc/holdfast/etcd/root.password
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in order.
  returned: always
  type: list
  elements: str
  sample: [add the role root, add the user root, enable authentication]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._lease._etcd.users import etcd_users


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "endpoints": {"type": "list", "elements": "str", "required": True},
            "ca_file": {"type": "path"},
            "cert_file": {"type": "path"},
            "key_file": {"type": "path", "no_log": False},
            "prefix": {"type": "str", "default": "/holdfast/leases"},
            "user": {"type": "str", "required": True},
            "password_file": {"type": "path", "required": True, "no_log": False},
            "root_password_file": {"type": "path", "required": True, "no_log": False},
        },
        required_together=[["cert_file", "key_file"]],
        supports_check_mode=True,
    )
    result = etcd_users(module.params, module.check_mode)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
