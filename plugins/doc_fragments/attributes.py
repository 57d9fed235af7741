# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules of this collection have in common, for their documentation."""

from __future__ import annotations


class ModuleDocFragment:
    """The attributes of every module, and those that only some have."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
  action_group:
    description: Use C(group/holdfast.supervision.supervision) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - holdfast.supervision.supervision
requirements:
  - Python 3.9 or later on the host
  - Linux 5.4 or later on the host
"""

    # Modules that only read.
    INFO = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - This module does not modify state.
  diff_mode:
    support: N/A
    details:
      - This module does not modify state.
  idempotent:
    support: full
    details:
      - This module does not modify state.
"""

    # Modules that are nothing but a plugin on the controller.
    CONTROLLER = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux
  action:
    description: Is nothing but a plugin on the controller.
    support: full
"""

    # Which scan directory is meant, and what supervises it.
    SUPERVISOR = r"""
options:
  scan_directory:
    description:
      - The scan directory of the supervisor.
      - Defaults to V(/etc/holdfast/services) for root, and to V(~/.holdfast/services) for other users.
    type: path
  backend:
    description:
      - What supervises the services. V(auto) is the one that runs on O(scan_directory), or that it was set up for, or V(embedded) when there is none.
    type: str
    default: auto
    choices:
      - auto
      - embedded
      - systemd
      - supervisord
      - s6
      - runit
      - daemontools
      - daemontools_encore
      - openrc
"""

    # Which store of leases is meant.
    STORE = r"""
options:
  driver:
    description:
      - Who keeps the leases.
      - With V(file) they are locks of the host's kernel. The task has to run on the one host that all who want the lease use,
        by C(delegate_to) if need be.
      - With V(etcd) and V(sanlock) they exclude each other across hosts.
      - The driver of another collection is named as V(namespace.collection.driver), and has to be in the runtime of the host, see
        O(holdfast.supervision.runtime#module:lease_drivers).
    type: str
    default: file
  parameters:
    description:
      - The parameters of the driver, as in C(lease.parameters) of a service's definition.
      - For V(file) C(directory) is V(/run/holdfast/leases) if it is not given, for an ordinary user
        V(~/.holdfast/run/leases).
      - Secrets are in files on the host, which the parameters name.
    type: dict
    default: {}
"""

    # Which etcd is meant.
    ETCD = r"""
options:
  endpoints:
    description:
      - Addresses of members, such as V(https://etcd1.example.com:2379). Any that answers will do.
    type: list
    elements: str
    required: true
  ca_file:
    description:
      - Who has signed the members' certificates. The host's own list if omitted.
    type: path
  cert_file:
    description:
      - The certificate that is shown to the members.
    type: path
  key_file:
    description:
      - Its key. Only root may read it.
    type: path
"""

    # Which helper is meant.
    HELPER = r"""
options:
  socket:
    description:
      - Where the helper listens.
    type: path
    default: /run/holdfast-helper/socket
  wait:
    description:
      - Seconds in which a helper that was never there may come up.
    type: float
    default: 30
"""
