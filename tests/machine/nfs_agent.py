# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a host inside an emulated machine, and does tasks there: a line of JSON for each, and one back.

The modules' own code does them, in one process: to start a Python for each of them takes such a machine seconds.
"""

from __future__ import annotations

import glob
import json
import os
import sys
from typing import Any

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import information, task


def do(module: str, options: dict[str, Any]) -> dict[str, Any]:
    """Do a task of one of our modules, or what is used here of two of Ansible's own."""
    if module == "lease":
        return task.lease(options, False)
    if module == "lease_info":
        return information.lease_info(options, task.guards_of(options["scan_directory"]))
    if module == "find":
        return {"matched": len(glob.glob(os.path.join(options["paths"], options["patterns"])))}
    if module == "copy":
        descriptor = os.open(options["dest"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, int(options["mode"], 8))
        os.write(descriptor, (options["content"] or "").encode())
        os.close(descriptor)
        return {"changed": True}
    raise ValueError(module)


print("ready", flush=True)
for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps(do(request["module"], request["options"])), flush=True)
