#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_facts
short_description: Learn what the roles of this collection need to know of a host
version_added: 0.1.0
author:
  - The holdfast.supervision authors (@holdfast)
description:
  - Asks the shell of the host, without a Python there, and fails with one sentence if the host can not run the supervisor. The
    sentence says what was found and what cures it.
  - The facts are those of M(ansible.builtin.setup), a few of them, in a fraction of the time.
  - Needed are Linux 5.4 and CPython 3.9.
extends_documentation_fragment:
  - holdfast.supervision.attributes.controller
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
  facts:
    support: full
    description: Action returns an C(ansible_facts) dictionary that will update existing host facts.
options:
  python:
    description:
      - The interpreter that is to run the supervisor. Absolute.
      - When root asks, it is not run if anybody else could change it.
    type: str
    default: /usr/bin/python3
  python_required:
    description: Whether it is a failure that there is no O(python) yet. One that is too old, or that others can change, always is.
    type: bool
    default: true
  users:
    description: Users of whom the result tells whether they exist.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Can this host run the supervisor?
  holdfast.supervision.host_facts:
    python: /usr/bin/python3
"""

RETURN = r"""
ansible_facts:
  description: Facts of the user that Ansible is on the host.
  returned: success
  type: dict
  contains:
    ansible_user_uid:
      description: The number of the user.
      type: int
      sample: 0
    ansible_user_dir:
      description: The home of the user.
      type: str
      sample: /root
python:
  description: The version of O(python); empty if there is none.
  returned: success
  type: str
  sample: 3.11.2
users:
  description: Those of O(users) that exist.
  returned: success
  type: list
  elements: str
  sample: [holdfast-log]
"""
