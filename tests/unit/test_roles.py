# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the variables of roles say where a host's facts are not known, as with `--start-at-task` or `--skip-tags`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

PLACES = [
    *(f"services_{place}_directory" for place in ("scan", "log", "runtime")),
    *(f"supervisor_{place}_directory" for place in ("scan", "run", "log", "runtime")),
]


def value(checkout: Path, name: str, facts: dict[str, Any]) -> Any:
    loader = DataLoader()
    variables: dict[str, Any] = {"ansible_facts": facts}
    for file in ("defaults", "vars"):
        path = checkout / "roles" / name.partition("_")[0] / file / "main.yml"
        variables.update(loader.load(trust_as_template(path.read_text()), file_name=str(path)))
    return Templar(loader=loader, variables=variables).template(variables[name])


@pytest.mark.parametrize("name", PLACES)
def test_without_facts_the_role_says_where_they_come_from(checkout: Path, name: str) -> None:
    with pytest.raises(AnsibleError, match=r"run the role holdfast\.supervision\.bootstrap first"):
        value(checkout, name, {})
    assert value(checkout, name, {"user_uid": 0, "user_dir": "/root"}).startswith(("/etc/", "/run/", "/var/", "/usr/"))
    assert value(checkout, name, {"user_uid": 7, "user_dir": "/home/a"}).startswith("/home/a/.holdfast/")
