# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An Ansible inventory of a lab."""

from __future__ import annotations

import json
import typing as t

if t.TYPE_CHECKING:
    from .lab import Lab


def inventory(lab: Lab, user: str = "root") -> str:
    """YAML text: all hosts, reached as this user by the lab's own ssh from wherever Ansible runs."""
    variables = {
        "ansible_user": user,
        "ansible_ssh_executable": str(lab.tool("ssh")),
        "ansible_sftp_executable": str(lab.tool("sftp")),
        "ansible_scp_executable": str(lab.tool("scp")),
        # Connections that are kept open end with the lab.
        "ansible_control_path_dir": str(lab.directory / "control"),
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    lines = ["---", "all:", "  hosts:"]
    for host in lab.hosts():
        lines += [f"    {host.name}:", f"      ansible_host: {json.dumps(host.address)}"]
    lines.append("  vars:")
    lines += [f"    {name}: {json.dumps(value)}" for name, value in variables.items()]
    return "\n".join(lines) + "\n"
