# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the reference part of docs/definitions.md from the schema. After a change of the schema: python3 scripts/definitions_page.py"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

TOP = Path(__file__).resolve().parent.parent
PAGE = TOP / "docs" / "definitions.md"
BEGIN = "<!-- What follows is written by scripts/definitions_page.py from the schema. -->"

DEFAULT = " Default: "

sys.path.insert(0, str(TOP / "plugins" / "module_utils"))
from _definition.schema import KEYS, KINDS, LIMITS, SIGNALS, Key  # type: ignore[import-not-found]  # noqa: E402


def reference() -> str:
    """Return the reference part: every key with its meaning, type, default and example."""
    parts = [BEGIN, "", "## All keys", ""]
    parts += [" · ".join(f"[{key.name}](#{key.name})" for key in KEYS), ""]
    for key in KEYS:
        parts += _key(key)
    return "\n".join(parts).rstrip() + "\n"


def _key(key: Key) -> list[str]:
    lines = [f"### {key.name}", "", _meaning(key), "", f"- Type: {_type(key)}", f"- Default: {_default(key)}", ""]
    if key.kind == "limits":
        lines += ["Limits: " + ", ".join(f"`{name}`" for name in LIMITS) + ".", ""]
    if key.kind == "signal":
        lines += ["Signals: " + ", ".join(f"`{name}`" for name in sorted(SIGNALS)) + ".", ""]
    lines += ["```yaml", f"{key.name}: {_flow(key.example)}", "```", ""]
    return lines + _table(key)


def _table(key: Key) -> list[str]:
    if not key.keys:
        return []
    lines = ["| Key | Type | Default | Example | Meaning |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| `{inner.name}` | {_type(inner)} | {_default(inner)} | `{_flow(inner.example)}` | {_meaning(inner)} |"
        for inner in key.keys
    ]
    lines.append("")
    for inner in key.keys:
        if inner.keys:
            lines += [f"In `{key.name}.{inner.name}`, for each device:", "", *_table(inner)]
    return lines


def _meaning(key: Key) -> str:
    return key.help.split(DEFAULT)[0]


def _type(key: Key) -> str:
    if key.choices:
        more = ", or `namespace.collection.driver`" if key.kind == "driver" else ""
        return "one of " + ", ".join(f"`{choice}`" for choice in key.choices) + more
    text = KINDS[key.kind]
    if key.minimum is not None and key.maximum is not None:
        return f"{text}, from {key.minimum} to {key.maximum}"
    if key.minimum:
        return f"{text}, {key.minimum} or more"
    if key.above is not None:
        return f"{text}, more than {key.above}"
    return text


def _default(key: Key) -> str:
    if key.required:
        return "none, required"
    if DEFAULT in key.help:
        return key.help.split(DEFAULT)[1].rstrip(".")
    if key.kind in ("section", "log") and key.default is not None:
        return "as in the table"
    if key.default in (None, "", [], {}):
        return "none"
    if key.kind in ("mode", "umask"):
        return f"`{key.default:04o}`"
    if key.kind == "duration":
        return f"{key.default:g} s"
    return f"`{_flow(key.default)}`"


def _flow(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).replace("\n...", "").strip()


def page(text: str) -> str:
    """Return the page with a fresh reference part."""
    return text.split(BEGIN)[0] + reference()


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
