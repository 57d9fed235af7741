#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: services_check
short_description: Look for what is wrong with the definitions of services, before anything is done
version_added: 0.1.0
author:
  - The holdfast.supervision authors (@holdfast)
description:
  - Tells everything that is wrong with C(services_definitions), every C(services_definitions__NAME) and C(services_defaults) of a host, at once,
    as M(holdfast.supervision.services) does.
  - The host is not asked for anything, and need not be there. What only it can tell, such as whether a user or a command exists, is looked at by
    M(holdfast.supervision.services).
extends_documentation_fragment:
  - holdfast.supervision.attributes.controller
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
options:
  known_only:
    description:
      - Whether to pass over what may become known later in the play, such as a definition that uses a fact which was not gathered yet, or
        a need of a service that another role defines.
      - For the beginning of a play. C(playbooks/site.yml) begins so.
    type: bool
    default: false
seealso:
  - module: holdfast.supervision.services
"""

EXAMPLES = r"""
- name: A play that stops before it has changed anything
  hosts: all
  gather_facts: false
  pre_tasks:
    - name: The definitions are right
      holdfast.supervision.services_check:
        known_only: true
  roles:
    - role: holdfast.supervision.supervisor
    - role: holdfast.supervision.services

- name: An inventory is looked at, and no host
  hosts: all
  gather_facts: false
  tasks:
    - name: The definitions are right
      holdfast.supervision.services_check:
"""

RETURN = r"""# Nothing but changed, which is false."""
