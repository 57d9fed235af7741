# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates of roles, rendered where the variables are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from ansible_collections.holdfast.supervision.plugins.lookup.role_template import LookupModule


class Heavy(dict[str, Any]):
    """Variables of which no copy is to be made."""

    def __deepcopy__(self, memo: object) -> Heavy:
        raise AssertionError("a copy was made")


def render(folder: Path, *names: str) -> list[str]:
    loader = DataLoader()
    loader.set_basedir(str(folder))
    variables = {
        "ansible_search_path": [str(folder)],
        "services_definitions": Heavy(),
        "path": trust_as_template("{{ folder }}/x"),
        "folder": "/srv",
    }
    lookup = LookupModule(loader=loader, templar=Templar(loader=loader, variables=variables))
    lookup._load_name = "holdfast.supervision.role_template"
    return lookup.run(list(names), variables)


def test_it_gives_the_text_with_its_last_newline(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "unit.j2").write_text("{% if true %}\nExec={{ path }}\n{% endif %}\nA=\\n\n")
    (tmp_path / "templates" / "other.j2").write_text("{{ path | length }}")
    assert render(tmp_path, "unit.j2", "other.j2") == ["Exec=/srv/x\nA=\\n\n", "6"]


def test_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AnsibleError, match=r"none\.j2"):
        render(tmp_path, "none.j2")
