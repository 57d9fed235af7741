# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every file says its licence, packages are empty, and no file names the machine on which it was written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

COPYRIGHT = "# Copyright: (c) 2026, the holdfast.supervision authors\n"
LICENCE = (
    "# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or "
    "https://www.gnu.org/licenses/gpl-3.0.txt)\n"
)
SPDX = "# SPDX-License-Identifier: GPL-3.0-or-later\n"


def problems(tree: Path) -> list[str]:
    """One line per file that breaks a rule."""
    found = []
    for needed in ("LICENSES/GPL-3.0-or-later.txt", "REUSE.toml"):
        if not (tree / needed).is_file():
            found.append(f"{needed} is missing")
    machine = _names_of_this_machine()
    for path in sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink()):
        name = str(path.relative_to(tree))
        text = path.read_bytes().decode(errors="replace")
        found += [f"{name}: {problem}" for problem in _of_file(name, text)]
        found += [f"{name}: names this machine: {word}" for word in machine if word in text]
    return found


def _of_file(name: str, text: str) -> list[str]:
    if name.endswith("__init__.py") and name.startswith("plugins/"):
        return ["is not empty"] if text else []
    if not text or name.startswith("LICENSES/"):
        return []
    if name.endswith(".py"):
        shebang = "#!/usr/bin/python\n" if re.match(r"plugins/modules/", name) else ""
        body = text if shebang or not text.startswith("#!") else text.partition("\n")[2]
        return [] if body.startswith(shebang + COPYRIGHT + LICENCE + SPDX) else ["does not begin with the header"]
    if name.endswith((".sh", ".toml")) or text.startswith("#!"):
        # Other files have the licence that REUSE.toml gives to all.
        wrong = re.findall(r"SPDX-License-Identifier:\s*(?!GPL-3\.0-or-later)(\S+)", text)
        return [f"has another licence: {wrong[0]}"] if wrong else []
    return []


def _names_of_this_machine() -> list[str]:
    """The checkout, a Python that is not the system's, and a package index of one's own: all are nobody's business."""
    names = []
    if not sys.base_prefix.startswith("/usr"):
        names.append(os.path.dirname(sys.base_prefix))
    shown = subprocess.run(["pip", "config", "list"], check=False, capture_output=True, text=True).stdout
    hosts = set(re.findall(r"https?://(?:[^@/\s']*@)?([^:/\s']+)", shown))
    return names + sorted(hosts - {"pypi.org"})
