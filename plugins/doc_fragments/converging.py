# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module services and those that stand in for it take."""

from __future__ import annotations


class ModuleDocFragment:
    """Attributes and options."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    support: full
    details:
      - Nothing on the host is changed, and no state is assumed that was not looked at. On a host that has no scan
        directory or no supervisor yet all services are taken as new; what can't be looked at is listed in RV(holdfast.supervision.services#module:unverified).
  diff_mode:
    support: full
    details:
      - There is one entry for each file, and one for the states of the services. Secrets are not shown.
  idempotent:
    support: full
options:
  services:
    description:
      - The definitions, by the name of the service. The keys of a definition are described in the documentation of the collection,
        in C(docs/definitions.md).
      - When this is omitted, the variable C(services_definitions) and every variable whose name begins with C(services_definitions__)
        are merged.
      - Read by the action plugin on the controller.
    type: dict
  defaults:
    description:
      - A definition that is merged under every other one. When it is omitted the variable C(services_defaults) is used.
      - Read by the action plugin on the controller.
    type: dict
  prune:
    description:
      - Remove services that this module has made and that are not defined any more.
      - What this module has not made is never touched.
    type: bool
    default: false
  log_directory:
    description:
      - The directory with one directory of log files for each service.
      - Defaults to V(/var/log/holdfast) for root, and to V(~/.holdfast/log) for other users.
    type: path
  runtime_directory:
    description:
      - Where the runtime is, which has to have the lease drivers of other collections that definitions name.
      - Defaults to V(/usr/local/lib/holdfast) for root, and to V(~/.holdfast/lib) for other users.
    type: path
  timeout:
    description:
      - How long to wait, in seconds, for all services together, after the supervisor was told.
      - When omitted V(60), or as long as the definition of a service that is waited for allows if that is longer. That is its
        C(readiness.timeout), after those of what it needs, and after C(stop_timeout) and C(finish_timeout) where it is stopped.
    type: float
  command_check:
    description:
      - Whether the commands and directories of the definitions have to exist before anything is changed.
      - Say V(false) if applications are deployed after their services. What is missing is listed in RV(holdfast.supervision.services#module:unverified) then.
    type: bool
    default: true
  offline:
    description:
      - Write and enable everything without a supervisor, as for an image or a chroot. No service is started and nothing is
        verified of it.
    type: bool
    default: false
  payload:
    description:
      - Set by the action plugin. Not for playbooks.
    type: str
  secrets:
    description:
      - Set by the action plugin. Not for playbooks.
    type: dict
"""
