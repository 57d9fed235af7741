# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's values become plain ones."""

from __future__ import annotations

import datetime
import json
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from ansible_collections.holdfast.supervision.plugins.plugin_utils.plain import plain


def kinds(value: Any) -> set[type]:
    found = {type(value)}
    if isinstance(value, dict):
        for key, item in value.items():
            found |= kinds(key) | kinds(item)
    if isinstance(value, list):
        for item in value:
            found |= kinds(item)
    return found


def test_tagged_values_lose_their_tags() -> None:
    text = "a: {b: [x, 1, 1.5, true, null, '{{ z }}', '{{ n }}']}\n"
    value = DataLoader().load(text, file_name="/inventory/group_vars/all.yml")
    templar = Templar(variables={"z": trust_as_template("{{ y }}"), "y": {"k": "v"}, "n": 3})
    assert not kinds(value) <= {dict, list, str, int, float, bool, type(None)}
    trusted = {"a": {"b": [*value["a"]["b"][:5], trust_as_template("{{ z }}"), trust_as_template("{{ n }}")]}}
    result = plain(templar.template(trusted))
    assert result == {"a": {"b": ["x", 1, 1.5, True, None, {"k": "v"}, 3]}}
    assert kinds(result) <= {dict, list, str, int, float, bool, type(None)}
    json.dumps(result)


def test_what_is_unknown_stays() -> None:
    day = datetime.date(2026, 1, 1)
    assert plain({"a": (day,)}) == {"a": [day]}
