#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: runtime
short_description: Install the programs of this collection that live on a host
version_added: 0.1.0
author:
  - The holdfast.supervision authors (@holdfast)
description:
  - Puts the supervisor, the log writer and the C(holdfast) command on a host, as one versioned directory of Python files.
  - The version is a hash of the content. It is sent to a host only if the host does not have it.
  - A new version is unpacked beside the others, byte-compiled and tested with the interpreter that will run it, and taken into
    use by one symbolic link. The previous version stays. Older ones are removed, unless a process still runs from them.
  - Running daemons go on with the version that they were started from, see M(holdfast.supervision.supervisor).
extends_documentation_fragment:
  - holdfast.supervision.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
  action:
    support: full
    description: Packs the runtime on the controller.
options:
  state:
    description: Whether the runtime is to be there.
    type: str
    choices: [present, absent]
    default: present
  directory:
    description: Where the versions are kept. Absolute.
    type: path
    required: true
  command:
    description:
      - The file that starts the runtime for people, for example V(/usr/local/bin/holdfast). Absolute.
      - None is made without it. A file at this place that is not ours is an error.
    type: path
  scan_directory:
    description: The scan directory that the command uses unless it is told another.
    type: path
  python:
    description:
      - The interpreter that runs the runtime. Absolute.
      - When the module runs as root, every part of its path must belong to root and be writable by nobody else.
    type: path
    default: /usr/bin/python3
  lease_drivers:
    description:
      - Lease drivers of other collections that are to be a part of the runtime, such as V(my_namespace.my_collection.my_driver). These
        collections are needed on the controller.
      - A driver that is not there, made for another version of the interface, or not made for hosts, is an error before anything changes.
    type: list
    elements: str
    default: []
  version:
    description: Set by the action plugin.
    type: str
  payload:
    description: Set by the action plugin, when the host lacks the version.
    type: str
"""

EXAMPLES = r"""
- name: Install the runtime for the whole system
  holdfast.supervision.runtime:
    directory: /usr/local/lib/holdfast
    command: /usr/local/bin/holdfast
    scan_directory: /etc/holdfast/services

- name: Remove it again
  holdfast.supervision.runtime:
    directory: /usr/local/lib/holdfast
    command: /usr/local/bin/holdfast
    state: absent
"""

RETURN = r"""
version:
  description: The version that is in use for whatever is started from now on.
  returned: success
  type: str
  sample: 3f2c9a5d1b0e7c46
previous:
  description: The version that was in use before, if one was.
  returned: success
  type: str
  sample: 9b1d77e0c2a4f358
pruned:
  description: The versions that were removed.
  returned: success
  type: list
  elements: str
  sample: []
actions:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [install runtime 3f2c9a5d1b0e7c46, use runtime 3f2c9a5d1b0e7c46]
needs_payload:
  description: For the action plugin, whether the module has to be run again with the version itself.
  returned: success
  type: bool
  sample: false
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.holdfast.supervision.plugins.module_utils._runtime import converge
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.archive import BadArchive
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.files import relative, told
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.install import InstallError
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.interpreter import Unfit


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "directory": {"type": "path", "required": True},
            "command": {"type": "path"},
            "scan_directory": {"type": "path"},
            "python": {"type": "path", "default": "/usr/bin/python3"},
            "lease_drivers": {"type": "list", "elements": "str", "default": []},
            "version": {"type": "str"},
            "payload": {"type": "str"},
        },
        required_if=[("state", "present", ("version",))],
        supports_check_mode=True,
    )
    options = dict(module.params)
    if options["payload"]:
        # It would be repeated in every result that is shown with -vvv.
        module.params["payload"] = f"({len(options['payload'])} characters)"
    wrong = relative(options, "directory", "command", "scan_directory")
    if wrong:
        module.fail_json(msg=wrong)
    try:
        if options["state"] == "absent":
            result = converge.absent(options["directory"], options["command"], module.check_mode)
        else:
            wanted = converge.Wanted(
                options["directory"],
                options["command"],
                options["python"],
                options["scan_directory"],
                options["version"],
                options["payload"],
            )
            result = converge.present(wanted, module.run_command, module.check_mode)
    except (BadArchive, InstallError, Unfit, converge.Refused) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{told(error, options['directory'])}; the runtime in use was not changed")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
