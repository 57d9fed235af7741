# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ready operations are narrowed, or refused with a line for each point."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.plugin_utils.ready import READY, expand

MOUNT = {"source": "/dev/vg/data", "target": "/srv/data", "type": "ext4"}
#: One of each kind, narrowed as it is to be.
GOOD: dict[str, dict[str, Any]] = {
    "mount": {"mounts": {"data": MOUNT}},
    "umount": {"mounts": {"data": {**MOUNT, "options": ["ro", "commit=5"]}}},
    "link_state": {"links": ["eth1"]},
    "link_mtu": {"links": ["eth1", "eth1.5"]},
    "address": {"links": ["eth1"], "within": ["192.0.2.0/24"]},
    "service_control": {"services": ["web@1"], "actions": ["start"]},
    "firewall_set": {"table": "filter", "sets": ["blocked"], "within": ["0.0.0.0/0"], "intervals": True},
    "chown": {"within": "/srv/data", "owners": ["www:www", ":www", "1000"]},
    "chmod": {"within": "/srv/data", "modes": ["0640", "750"]},
    "kernel_parameter": {"keys": {"net.ipv4.ip_forward": "[01]", "vm.swappiness": {"minimum": 0, "maximum": 100}}},
    "scsi_scan": {"hosts": [0, "1"]},
    "block_rescan": {"devices": ["sda", "nvme0"]},
    "fence": {"agent": "/usr/sbin/fence_ipmilan", "nodes": {"n1": {"ip": "192.0.2.1"}}, "actions": ["off"]},
}


def one(kind: str, **more: Any) -> dict[str, Any]:
    section = {"ready": kind, "allow": [{"user": "agent"}], **GOOD[kind], **more}
    return expand(
        {"it": {key: value for key, value in section.items() if value is not None}}, "/bin/holdfast", "/scan"
    )["it"]


def test_each_kind_is_tried_here() -> None:
    assert set(GOOD) == set(READY)


@pytest.mark.parametrize("kind", sorted(GOOD))
def test_a_narrowed_one_is_an_ordinary_operation(kind: str) -> None:
    made = one(kind, timeout=7, description="Mine.", rate={"calls": 1, "seconds": 5})
    assert made["allow"] == [{"user": "agent"}] and made["timeout"] == 7 and made["description"] == "Mine."
    assert "ready" not in made and made["argv"][0].startswith("/") and made["rate"]
    assert one(kind)["description"]


@pytest.mark.parametrize("kind", sorted(GOOD))
def test_one_that_is_not_narrowed_or_says_more_is_refused(kind: str) -> None:
    for key in GOOD[kind]:
        if key != "intervals":
            with pytest.raises(ValueError, match=rf"operations\.it.*{key}"):
                one(kind, **{key: None})
    for key, value in {"argv": ["/bin/sh"], "user": "root", "environment": {"A": "b"}}.items():
        with pytest.raises(ValueError, match=rf"operations\.it\.{key}: is fixed for {kind}"):
            one(kind, **{key: value})
    with pytest.raises(ValueError, match=r"operations\.it\.shell"):
        one(kind, shell=True)
    with pytest.raises(ValueError, match=r"operations\.it\.allow"):
        one(kind, allow=None)


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("mount", "mounts", {"data": {**MOUNT, "target": "/srv/../etc"}}),
        ("mount", "mounts", {"data": {**MOUNT, "target": "srv"}}),
        ("mount", "mounts", {"data": {**MOUNT, "target": "/"}}),
        ("mount", "mounts", {"data": {**MOUNT, "source": "-o suid"}}),
        ("mount", "mounts", {"data": {**MOUNT, "options": ["suid"]}}),
        ("mount", "mounts", {"data": {**MOUNT, "options": ["ro,suid"]}}),
        ("mount", "mounts", {"data": {**MOUNT, "options": ["defaults"]}}),
        ("mount", "mounts", {"data": {**MOUNT, "options": ["remount"]}}),
        ("mount", "mounts", {"data": {**MOUNT, "type": "ext4,suid"}}),
        ("mount", "mounts", {"data": {**MOUNT, "type": "bind", "options": ["rw"]}}),
        ("mount", "mounts", {"data": {**MOUNT, "type": "bind", "source": "data"}}),
        ("mount", "mounts", {"data": {**MOUNT, "password": "x"}}),
        ("link_mtu", "links", ["eth1; reboot"]),
        ("link_mtu", "links", ["-all"]),
        ("link_mtu", "links", "eth1"),
        ("link_mtu", "links", [True]),
        ("link_mtu", "maximum", 100000),
        ("address", "within", ["192.0.2.1/24"]),
        ("service_control", "services", ["reboot.target"]),
        ("service_control", "services", ["--all"]),
        ("service_control", "actions", ["mask"]),
        ("service_control", "manager", "openrc"),
        ("firewall_set", "sets", ["a; flush ruleset"]),
        ("firewall_set", "table", "a b"),
        ("firewall_set", "family", "all"),
        ("chown", "owners", ["www;id"]),
        ("chown", "owners", ["--reference=/x"]),
        ("chown", "within", "/"),
        ("chown", "recursive", "yes"),
        ("chmod", "modes", ["4755"]),
        ("chmod", "modes", ["0777"]),
        ("chmod", "modes", ["u+s"]),
        ("kernel_parameter", "keys", {"kernel.core_pattern": ".*"}),
        ("kernel_parameter", "keys", {"kernel.modprobe": ".*"}),
        ("kernel_parameter", "keys", {"fs.binfmt_misc.register": ".*"}),
        ("kernel_parameter", "keys", {"fs.protected_hardlinks": "[01]"}),
        ("kernel_parameter", "keys", {"net./../kernel.core_pattern": ".*"}),
        ("kernel_parameter", "keys", {"vm.swappiness": "("}),
        ("kernel_parameter", "keys", {"vm.swappiness": {"minimum": 0}}),
        ("scsi_scan", "hosts", ["0/../1"]),
        ("block_rescan", "devices", ["../sda"]),
        ("fence", "agent", "fence_ipmilan"),
        ("fence", "nodes", {"n1": {"password": "x"}}),
        ("fence", "nodes", {"n1": {"ip": "192.0.2.1\naction=on"}}),
        ("fence", "nodes", {"n1": {"action": "on"}}),
    ],
)
def test_what_widens_it_is_refused_by_name(kind: str, key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"operations\.it\.(parameters\.\w+\.)?{key}"):
        one(kind, **{key: value})


def test_all_that_is_wrong_is_told_at_once() -> None:
    operations = {
        "a": {"ready": "mtu", "allow": []},
        "b": {"ready": "link_mtu", "allow": []},
        "c": {"argv": ["true"], "allow": []},
        "d": 5,
    }
    with pytest.raises(ValueError, match="4 problems") as caught:
        expand(operations, "/bin/holdfast", "/scan")
    for part in ("operations.a.ready: 'mtu'", "operations.b.links", "operations.c.argv[0]", "operations.d"):
        assert part in str(caught.value)
    with pytest.raises(ValueError, match="dictionary"):
        expand([], "/bin/holdfast", "/scan")


def test_an_operation_may_be_secured() -> None:
    """The filter sees operations alone; where the guards are is the role's to say, and it always does."""
    made = expand({"address": {"argv": ["/sbin/ip"], "allow": [], "secured_by": "billing"}}, "/bin/holdfast", "/scan")
    assert made["address"]["secured_by"] == "billing"
    assert one("link_state", secured_by="billing")["secured_by"] == "billing"
