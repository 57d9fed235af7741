#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: services_systemd
short_description: The part of the module services that knows systemd
version_added: 0.1.0
author:
  - The holdfast.supervision authors (@holdfast)
description:
  - Run by the action plugin of M(holdfast.supervision.services) where systemd runs the services. Not for playbooks.
  - Takes the same options and returns the same as that module.
extends_documentation_fragment:
  - holdfast.supervision.attributes
  - holdfast.supervision.attributes.supervisor
  - holdfast.supervision.converging
seealso:
  - module: holdfast.supervision.services
"""

EXAMPLES = r"""
- name: This has the right one of these modules run
  holdfast.supervision.services:
    backend: systemd
"""

RETURN = r"""# As of M(holdfast.supervision.services)."""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._plan.tasks import SPEC, run
from ..module_utils._supervise.systemd import Systemd


def main() -> None:
    """Run the module."""
    run(AnsibleModule(argument_spec=SPEC, supports_check_mode=True), (Systemd,))


if __name__ == "__main__":
    main()
