# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Relative links in Markdown files lead to files that exist, and to headings that exist."""

from __future__ import annotations

import re
from pathlib import Path

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
_CODE = re.compile(r"^(```|~~~).*?^\1\s*$|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def problems(tree: Path) -> list[str]:
    """One line per link that leads nowhere."""
    found = []
    for page in sorted(tree.rglob("*.md")):
        text = _CODE.sub("", page.read_text())
        for match in _LINK.finditer(text):
            target = match[1] or match[2]
            if re.match(r"[a-z][a-z+.-]*:", target):
                continue
            name, anchor = target.split("#", 1) if "#" in target else (target, "")
            file = (page.parent / name).resolve() if name else page
            where = f"{page.relative_to(tree)}: {target}"
            if not file.exists():
                found.append(f"{where}: there is no such file")
            elif anchor and file.suffix == ".md" and anchor not in _anchors(file):
                found.append(f"{where}: there is no such heading")
    return found


def _anchors(page: Path) -> set[str]:
    text = re.sub(r"^(```|~~~).*?^\1\s*$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    anchors: set[str] = set()
    for heading in re.findall(r"^#+ +(.*?) *#*$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        base = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = 0
        while (anchor := f"{base}-{number}" if number else base) in anchors:
            number += 1
        anchors.add(anchor)
    return anchors | set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))
