# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/definitions.md tells everything that the schema knows."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ansible_collections.holdfast.supervision.plugins.module_utils._definition import merge, schema, validate


@pytest.fixture(scope="module")
def page(checkout: Path) -> str:
    return (checkout / "docs" / "definitions.md").read_text(encoding="utf-8")


def all_keys(keys: tuple[schema.Key, ...] = schema.KEYS, prefix: str = "") -> Iterator[tuple[str, schema.Key]]:
    for key in keys:
        yield prefix + key.name, key
        yield from all_keys(key.keys, f"{prefix}{key.name}.")


@pytest.mark.parametrize(("name", "key"), list(all_keys()), ids=[pair[0] for pair in all_keys()])
def test_the_page_names_every_key(page: str, name: str, key: schema.Key) -> None:
    top = name.split(".")[0]
    section = page.split(f"\n### {top}\n")[1].split("\n### ")[0]
    assert key.help.split(" Default: ")[0] in section
    if "." in name:
        assert f"| `{key.name}` |" in section
    for choice in key.choices:
        assert f"`{choice}`" in section


def test_the_page_is_what_the_schema_says(page: str, checkout: Path) -> None:
    spec = importlib.util.spec_from_file_location("definitions_page", checkout / "scripts" / "definitions_page.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.page(page) == page, "run scripts/definitions_page.py"


def test_the_examples_are_valid(page: str) -> None:
    """Each block of YAML on the page, with a command where it shows only one key."""
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    assert len(blocks) > len(schema.KEYS)
    for block in blocks:
        if any(name.startswith("services_def") for name in block):
            definitions = merge.merge(block).definitions
        else:
            definitions = {"example": {"command": ["/bin/x"], **block}}
            definitions["example"].update({"type": "periodic"} if "interval" in block else {})
            definitions["example"].update({"interval": 1} if "type" in block else {})
            for key, kind in (("pid_file", "forking"), ("stop_command", "oneshot"), ("tty", "getty")):
                definitions["example"].update({"type": kind} if key in block else {})
        for name, definition in definitions.items():
            assert not validate.problems(name, definition, "example"), block
