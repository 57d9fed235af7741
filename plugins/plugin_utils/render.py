# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendering of the scripts of a service, on the controller.

Templates are compiled once. Ansible's own templating is not used here: it costs a hundred times as much, and there is
nothing left to resolve in a normalised definition. PRIVATE to the collection.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from ansible_collections.holdfast.supervision.plugins.module_utils._definition.kinds import MERCY, REPORT_FD, terminal
from ansible_collections.holdfast.supervision.plugins.module_utils._definition.values import UNLIMITED
from ansible_collections.holdfast.supervision.plugins.module_utils._directory.guarding import (
    PREFIX,
    executes,
    guarding,
    reports,
)

TEMPLATE = Path(__file__).resolve().parents[2] / "roles" / "services" / "templates" / "run.j2"

_SAFE = re.compile(r"[A-Za-z0-9_@%+=:,./-]+", re.ASCII).fullmatch


def quoted(text: str) -> str:
    """Return text as one literal sh word, always in quotes."""
    return "'" + text.replace("'", "'\\''") + "'"


def word(text: str) -> str:
    """Return text as one literal sh word, in quotes only if it needs them."""
    return text if _SAFE(text) else quoted(text)


def owner(folder: Mapping[str, Any]) -> str:
    """Return the argument of chown; without a group it means the login group of the user."""
    return word(f"{folder['user'] or ''}:{folder['group'] or ''}")


def comment(text: str) -> str:
    """Return text so that it stays within a comment of a sh script."""
    lines = text.strip().replace("\r", "").split("\n")
    return "\n# ".join(line.rstrip() for line in lines)


@functools.cache
def _template() -> Template:
    environment = Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters.update(quoted=quoted, word=word, comment=comment, owner=owner)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def scripts(service: Mapping[str, Any]) -> dict[str, str]:
    """Return the scripts of a normalised definition: run, finish, check, health.

    There is no run if the user has a template for it, but for the one that begins with the guard, and goes on with the user's.
    """
    health = service["health"]
    own = [f"./{PREFIX}run"] if guarding(service) else None
    commands = {
        "run": own if service["template"] else service["command"],
        "finish": service["finish"],
        "check": service["readiness"]["check"],
        "health": health["check"] if health else None,
    }
    state = _process_state(service)
    return {name: script(service, name, argv, state) for name, argv in commands.items() if argv}


def script(service: Mapping[str, Any], name: str, argv: list[str], state: list[str]) -> str:
    """Return one script of the service."""
    user = service["user"]
    return _template().render(
        service=service,
        script=name,
        argv=argv,
        state=state,
        login=f"$(id -un {user})" if user and user.isdigit() else word(user or ""),
        secrets=service["secret_environment"],
        file=name if name == "run" or not guarding(service) else PREFIX + name,
        guard=_guard(service) if guarding(service) and name == "run" else (),
        kind=service["type"] if name == "run" else "",
        own=name == "run" and bool(service["template"]),
        undo=service["stop_command"],
        terminal=terminal(service),
        limit=f"{service['readiness']['timeout']:g}",
        mercy=MERCY,
        report=REPORT_FD,
        folders=service["runtime_directories"] if name == "run" else (),
    )


def _guard(service: Mapping[str, Any]) -> list[str]:
    """Return the arguments of the guard of a service, which is started in the service directory."""
    lease = guarding(service) or {}
    alone = executes(service)
    return [
        f"--name={service['name']}",
        "--state=../.holdfast/guards",
        f"--driver={lease['driver']}",
        *([f"--directory={lease['directory']}"] if lease["driver"] == "file" else []),
        *([f"--ttl={lease['ttl']:g}"] if lease["ttl"] is not None and has_ttl(lease) else []),
        *(f"--parameter={name}={value}" for name, value in sorted(lease["parameters"].items())),
        *(f"--resource={resource}" for resource in lease["resources"]),
        *([f"--keep={lease['keep']:g}"] if lease["keep"] else []),
        *([f"--on-lost={lease['on_lost']}"] if lease["on_lost"] != "kill" else []),
        *([f"--pause-timeout={lease['pause_timeout']:g}"] if lease["on_lost"] == "pause" else []),
        *(["--mode=exec"] if alone else [f"--containment={lease['containment']}"]),
        f"--safety={lease['safety']}",
        f"--stop-signal={service['stop_signal']}",
        *([] if alone else [f"--stop-timeout={service['stop_timeout']}", f"--kill={service['kill']}"]),
        *([f"--report-fd={REPORT_FD}"] if reports(service) else []),
        "--definition=holdfast.json",
        "--",
        "./run",
    ]


def has_ttl(lease: Mapping[str, Any]) -> bool:
    """Return whether a driver is told the time that is set for all leases. One of another collection may refuse it."""
    driver, scope = lease["driver"], lease["parameters"].get("scope")
    return driver == "etcd" or "." in driver or (driver == "file" and scope == "hosts")


def _process_state(service: Mapping[str, Any]) -> list[str]:
    """Return the programs, one after the other, that apply the process state and then become the script."""
    links = []
    if service["nice"] is not None:
        links.append(f"nice -n {service['nice']}")
    if service["limits"]:
        limits = (f"--{name}={_limit(soft)}:{_limit(hard)}" for name, (soft, hard) in service["limits"].items())
        links.append("prlimit " + " ".join(limits))
    identity = _identity(service)
    context = service["security_context"] or {}
    if context.get("selinux"):
        identity.append(f"--selinux-label={word(context['selinux'])}")
    if context.get("apparmor"):
        identity.append(f"--apparmor-profile={word(context['apparmor'])}")
    if identity:
        links.append("setpriv " + " ".join(identity))
    return links


def _identity(service: Mapping[str, Any]) -> list[str]:
    user, group, groups = service["user"], service["group"], service["groups"]
    options = []
    if user:
        options.append(f"--reuid={word(user)}")
    if group:
        options.append(f"--regid={word(group)}")
    elif user:
        options.append(f'--regid="$(id -g {word(user)})"')
    if groups:
        options.append("--groups=" + word(",".join(groups)))
    elif groups is not None or (group and not user):
        options.append("--clear-groups")
    elif user:
        options.append("--init-groups")
    return options


def _limit(value: int) -> str:
    return "unlimited" if value == UNLIMITED else str(value)
