# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ready operations: what inventory says of one becomes an ordinary operation. PRIVATE to the collection.

All of them are root in disguise, so none is there unless inventory names it, and each has to be narrowed: to listed
links, mounts, services, keys. Where a caller's value can be checked as a parameter, the operation is the argv of the usual
program. Where that is not safe, it is one of `holdfast operate`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ansible_collections.holdfast.supervision.plugins.module_utils._helper import schema
from ansible_collections.holdfast.supervision.plugins.plugin_utils import ready_checks as checks
from ansible_collections.holdfast.supervision.plugins.plugin_utils.ready_checks import Section, Wrong

#: What a ready operation decides by itself.
FIXED = {"argv", "function", "isolation", "parameters", "capabilities", "user", "environment", "directory"}


def expand(operations: Any, command: str, scan: str) -> dict[str, Any]:
    """Give *operations* with each ready one as the ordinary operation that it stands for.

    command: of the runtime on the host; scan: the scan directory of its supervisor. Raises ValueError with all that is
    wrong, also with the ordinary ones.
    """
    if not isinstance(operations, dict):
        raise ValueError("helper_operations: is to be a dictionary, name to operation")
    expanded: dict[str, Any] = {}
    problems: list[str] = []
    for name, one in operations.items():
        if not isinstance(one, dict) or "ready" not in one:
            expanded[name] = one
            continue
        try:
            expanded[name] = _ready(f"operations.{name}", dict(one), command, scan)
        except Wrong as error:
            problems += error.found
    # What an operation may refer to, and the role writes beside them; the host looks at the real ones.
    services = {"manager": "embedded", "scan_directory": scan}
    beside = {"socket": "/s", "state_directory": "/s", "services": services, "guards": ["/g"]}
    document = {"format": schema.FORMAT, **beside}
    problems += schema.problems({**document, "operations": expanded})
    if problems:
        raise ValueError("\n".join([f"helper_operations: {len(problems)} problems", *problems]))
    return expanded


def _ready(path: str, one: dict[str, Any], command: str, scan: str) -> dict[str, Any]:
    kind = one.pop("ready")
    if kind not in READY:
        raise Wrong([f"{path}.ready: {kind!r}: there is no such ready operation; known: {', '.join(sorted(READY))}"])
    section = Section(path, one)
    made = READY[kind](section, command, scan)
    for key in sorted(FIXED & set(section.rest)):
        section.wrong(key, f"is fixed for {kind}")
    if section.found:
        raise Wrong(section.found)
    return {**made, **section.rest}


def _enum(values: list[str], description: str = "") -> dict[str, Any]:
    return {"type": "enum", "values": values, **({"description": description} if description else {})}


def _table(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _mount(verb: str) -> Callable[[Section, str, str], dict[str, Any]]:
    def make(section: Section, command: str, _scan: str) -> dict[str, Any]:
        mounts = checks.mounts(section)
        network = any(one["type"] in ("nfs", "nfs4", "cifs") for one in mounts.values())
        return {
            "description": f"{verb.capitalize()}s {', '.join(sorted(mounts))}.",
            "argv": [command, "operate", verb, _table(mounts), "{name}"],
            "parameters": {"name": _enum(sorted(mounts))},
            "capabilities": ["sys_admin", *(["net_bind_service"] if network and verb == "mount" else [])],
            "idempotency": "idempotent",
            "timeout": 60,
        }

    return make


def _link_state(section: Section, _command: str, _scan: str) -> dict[str, Any]:
    links = section.names("links", checks.LINK)
    return {
        "description": f"Takes {', '.join(links)} up or down.",
        "argv": [section.program("/sbin/ip"), "link", "set", "dev", "{link}", "{state}"],
        "parameters": {"link": _enum(links), "state": _enum(["up", "down"])},
        "capabilities": ["net_admin"],
        "idempotency": "idempotent",
    }


def _link_mtu(section: Section, _command: str, _scan: str) -> dict[str, Any]:
    links = section.names("links", checks.LINK)
    low, high = section.integer("minimum", 68, 65535, 1280), section.integer("maximum", 68, 65535, 9216)
    return {
        "description": f"Sets the MTU of {', '.join(links)}.",
        "argv": [section.program("/sbin/ip"), "link", "set", "dev", "{link}", "mtu", "{mtu}"],
        "parameters": {"link": _enum(links), "mtu": {"type": "integer", "minimum": low, "maximum": high}},
        "capabilities": ["net_admin"],
        "idempotency": "idempotent",
    }


def _address(section: Section, _command: str, _scan: str) -> dict[str, Any]:
    links, networks = section.names("links", checks.LINK), section.take("within", None)
    return {
        "description": f"Gives {', '.join(links)} an address, or takes it away.",
        "argv": [section.program("/sbin/ip"), "address", "{action}", "{address}", "dev", "{link}"],
        "parameters": {
            # `replace` is an `add` that may be repeated.
            "action": _enum(["replace", "delete"]),
            "address": {"type": "address", "within": networks, "prefix": "required"},
            "link": _enum(links),
        },
        "capabilities": ["net_admin"],
    }


def _service(section: Section, command: str, scan: str) -> dict[str, Any]:
    services = section.names("services", checks.SERVICE)
    manager = section.choice("manager", ("holdfast", "systemd"), "holdfast")
    known = ("start", "stop", "restart", "reload")
    actions = section.names("actions", checks.WORD)
    for action in actions:
        if action not in known:
            section.wrong("actions", f"one of {', '.join(known)}", action)
    if manager == "systemd":
        argv = [section.program("/bin/systemctl"), "--no-ask-password", "{action}", "{service}"]
        services = [name if name.endswith(".service") else f"{name}.service" for name in services]
    else:
        argv = [command, "--scan", scan, "{action}", "{service}"]
    return {
        "description": f"{', '.join(actions)}: {', '.join(services)}.",
        "argv": argv,
        "parameters": {"action": _enum(actions), "service": _enum(services)},
        "idempotency": "once" if {"restart", "reload"} & set(actions) else "idempotent",
        "timeout": 90,
    }


def _firewall(section: Section, _command: str, _scan: str) -> dict[str, Any]:
    family = section.choice("family", ("ip", "ip6", "inet", "bridge", "arp", "netdev"), "inet")
    table = section.names("table", checks.IDENTIFIER, single=True)
    sets, networks = section.names("sets", checks.IDENTIFIER), section.take("within", None)
    prefix = "optional" if section.boolean("intervals") else "none"
    return {
        "description": f"Puts addresses into {', '.join(sets)} of the table {family} {' '.join(table)}, or takes them out.",
        "argv": [
            section.program("/usr/sbin/nft"), "{action}", "element", family, *table, "{set}", "{", "{address}", "}",
        ],
        "parameters": {
            "action": _enum(["add", "delete"]),
            "set": _enum(sets),
            "address": {"type": "address", "within": networks, "prefix": prefix},
        },
        "capabilities": ["net_admin"],
    }  # fmt: skip


def _tree(verb: str) -> Callable[[Section, str, str], dict[str, Any]]:
    def make(section: Section, command: str, _scan: str) -> dict[str, Any]:
        wanted = section.names("owners", checks.OWNER) if verb == "chown" else checks.modes(section)
        options = {key: section.boolean(key) for key in ("recursive", "cross_mounts")}
        path = {"type": "path", "within": section.take("within", None), "cross_mounts": options["cross_mounts"]}
        parameter = "owner" if verb == "chown" else "mode"
        return {
            "description": f"Gives what lies below {path['within']} the {parameter} {', '.join(wanted)}.",
            "argv": [command, "operate", verb, _table(options), f"{{{parameter}}}", "{path}"],
            "parameters": {parameter: _enum(wanted), "path": path},
            "capabilities": [verb if verb == "chown" else "fowner", "dac_read_search"],
            "idempotency": "idempotent",
            "timeout": 300,
        }

    return make


def _parameter(section: Section, command: str, _scan: str) -> dict[str, Any]:
    keys = checks.kernel_parameters(section)
    return {
        "description": f"Sets {', '.join(sorted(keys))}.",
        "argv": [command, "operate", "kernel-parameter", _table(keys), "{key}", "{value}"],
        # The values are judged by the program, since each key has its own.
        "parameters": {"key": _enum(sorted(keys)), "value": {"type": "string", "pattern": "-?[!-~][ -~]*"}},
        "capabilities": ["net_admin"] if any(key.startswith("net.") for key in keys) else [],
        "idempotency": "idempotent",
    }


def _scsi(section: Section, command: str, _scan: str) -> dict[str, Any]:
    hosts = section.names("hosts", checks.NUMBER)
    return {
        "description": f"Has the SCSI hosts {', '.join(hosts)} look for devices.",
        "argv": [command, "operate", "scsi-scan", "{host}"],
        "parameters": {"host": _enum(hosts)},
        "capabilities": ["sys_admin"],
        "idempotency": "idempotent",
        "timeout": 120,
    }


def _block(section: Section, command: str, _scan: str) -> dict[str, Any]:
    devices = section.names("devices", checks.DEVICE)
    return {
        "description": f"Has the size of {', '.join(devices)} be read again.",
        "argv": [command, "operate", "block-rescan", "{device}"],
        "parameters": {"device": _enum(devices)},
        "capabilities": ["sys_admin"],
        "idempotency": "idempotent",
        "timeout": 120,
    }


def _fence(section: Section, command: str, _scan: str) -> dict[str, Any]:
    nodes = checks.fence_nodes(section)
    actions = section.names("actions", checks.WORD)
    return {
        "description": f"{', '.join(actions)}: the nodes {', '.join(sorted(nodes))}, by a fence agent.",
        "argv": [command, "operate", "fence", _table(nodes), "{node}", "{action}"],
        "parameters": {"node": _enum(sorted(nodes)), "action": _enum(actions)},
        "capabilities": section.take("capabilities", []),
        "idempotency": "idempotent" if set(actions) <= {"on", "off", "status", "monitor"} else "once",
        "timeout": 120,
    }


READY: dict[str, Callable[[Section, str, str], dict[str, Any]]] = {
    "mount": _mount("mount"),
    "umount": _mount("umount"),
    "link_state": _link_state,
    "link_mtu": _link_mtu,
    "address": _address,
    "service_control": _service,
    "firewall_set": _firewall,
    "chown": _tree("chown"),
    "chmod": _tree("chmod"),
    "kernel_parameter": _parameter,
    "scsi_scan": _scsi,
    "block_rescan": _block,
    "fence": _fence,
}
