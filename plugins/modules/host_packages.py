#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_packages
short_description: Install distribution packages on a host that may have no Python yet
version_added: 0.1.0
author:
  - The holdfast.supervision authors (@holdfast)
description:
  - Asks the shell of the host which packages are missing, and has the host's own package manager install them. No Python is needed there.
  - Knows C(apt-get), C(dnf), C(microdnf), C(yum) and C(apk).
  - Installs and does nothing else. Nothing is upgraded for its own sake, and nothing is removed.
extends_documentation_fragment:
  - holdfast.supervision.attributes.controller
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
options:
  names:
    description: The packages, by the names that the distribution gives them.
    type: list
    elements: str
    required: true
  creates:
    description: Nothing is installed on a host that has this path.
    type: path
  repository:
    description:
      - Where the packages come from. No other repository is asked then, so that a host needs no way out.
      - The path of a folder on the host, which is trusted as it is; an C(http) or C(https) address; or a whole line of
        C(sources.list) that begins with C(deb), which may name the key.
      - A folder, or what is at the address, is a flat repository of the host's own kind, with its index.
      - The repositories that the host has when omitted.
    type: str
seealso:
  - module: ansible.builtin.package
"""

EXAMPLES = r"""
- name: There is a Python
  holdfast.supervision.host_packages:
    names: [python3]
    creates: /usr/bin/python3

- name: The same on a host without a network
  holdfast.supervision.host_packages:
    names: [python3]
    repository: /srv/packages
"""

RETURN = r"""
installed:
  description: The packages that were missing, and are installed now. In check mode, those that would be.
  returned: success
  type: list
  elements: str
  sample: [python3]
manager:
  description: The host's package manager; empty if it has none that is known here.
  returned: success
  type: str
  sample: apt-get
"""
