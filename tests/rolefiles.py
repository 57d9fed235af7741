# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Units and scripts as the role supervisor gives them to its module, for a place of the test's own."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from deployed import PYTHON

TEMPLATES = Path(__file__).resolve().parents[1] / "roles" / "supervisor" / "templates"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: How the suites are scanned, as vars/main.yml of the role says it.
SCANNERS = {"s6": "/usr/bin/s6-svscan", "runit": "/usr/bin/runsvdir -P", "daemontools": "/usr/bin/svscan"}
SUPERVISORD = "supervisord -n -c"


def fill(template: str, values: Mapping[str, Any]) -> str:
    """Fill one of the role's templates, with the filters of Ansible that they use."""
    environment = jinja2.Environment(autoescape=False, keep_trailing_newline=True, trim_blocks=True)
    environment.filters["quote"] = shlex.quote
    environment.filters["ternary"] = lambda value, yes, no: yes if value else no
    environment.filters["regex_replace"] = lambda text, pattern, by: re.sub(pattern, by, text)
    return environment.from_string((TEMPLATES / template).read_text()).render(values)


def render(template: str, backend: str, below: Path, root: bool = True) -> str:
    """Render one of the role's templates for a scan directory *below*/services."""
    values: dict[str, Any] = {
        "__supervisor_backend": backend,
        "__supervisor_path": PATH,
        "__supervisor_root": root,
        "__supervisor_scanned": f"{below}/services/.{backend}{'/supervisord.conf' if backend == 'supervisord' else ''}",
        "__supervisor_scanner": SCANNERS.get(backend, SUPERVISORD),
        "__supervisor_suite": f"{below}/services/.{backend}",
        "supervisor_command": str(below / "bin" / "holdfast"),
        "supervisor_log_directory": str(below / "log"),
        "supervisor_log_user": "root",
        "supervisor_python": PYTHON,
        "supervisor_run_directory": str(below / "run"),
        "supervisor_runtime_directory": str(below / "lib"),
        "supervisor_scan_directory": str(below / "services"),
        "supervisor_stop_timeout": 30,
        "supervisor_timeout": 20,
    }
    return fill(template, values)


def scripts(backend: str, below: Path) -> dict[str, str]:
    """What the module's option scripts gets."""
    if backend in ("embedded", "openrc"):
        inits = ("openrc",) if backend == "openrc" else ("openrc", "sysvinit", "below")
        return {init: render(f"holdfast.{init}.j2", backend, below) for init in inits}
    if backend in SCANNERS:
        return {init: render(f"holdfast-suite.{init}.j2", backend, below) for init in ("openrc", "sysvinit", "below")}
    if backend == "supervisord":
        inits = ("openrc", "sysvinit")
        return {**{init: render(f"holdfast-suite.{init}.j2", backend, below) for init in inits}, "below": ""}
    return {}


def units(backend: str, below: Path, root: bool = True) -> dict[str, str]:
    """What the module's option units gets, from root or from an ordinary user."""
    if backend == "embedded":
        names = ("holdfast-groups.service", "holdfast.service", "holdfast-services.service")
        return {name: render(f"{name}.j2", backend, below, root) for name in names}
    if backend in SCANNERS:
        return {f"holdfast.{backend}.service": render("holdfast-suite.service.j2", backend, below, root)}
    return {}
