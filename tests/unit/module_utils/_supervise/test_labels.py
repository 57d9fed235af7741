# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Security modules of the host."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.labels import obstacle


def test_security_modules(tmp_path: Path) -> None:
    system = str(tmp_path)
    assert obstacle({}, system) == ""
    assert "SELinux" in obstacle({"selinux": "a:b:c:s0"}, system)
    assert "AppArmor" in obstacle({"apparmor": "billing"}, system)
    (tmp_path / "fs" / "selinux").mkdir(parents=True)
    (tmp_path / "fs" / "selinux" / "enforce").touch()
    parameters = tmp_path / "module" / "apparmor" / "parameters"
    parameters.mkdir(parents=True)
    (parameters / "enabled").write_text("N\n")
    assert obstacle({"selinux": "a:b:c:s0"}, system) == ""
    assert "AppArmor" in obstacle({"apparmor": "billing"}, system)
    (parameters / "enabled").write_text("Y\n")
    assert obstacle({"apparmor": "billing"}, system) == ""
