# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clock, watchdog and what the machine is made of. PRIVATE to the collection."""

from __future__ import annotations

import os
from typing import Any

from .look import Look

_CLOCK = "sys/devices/system/clocksource/clocksource0"
#: What firmware calls the machines of each hypervisor (DMI: sys_vendor, product_name, bios_vendor).
_VENDORS = (
    ("QEMU", "qemu"),
    ("KVM", "kvm"),
    ("Amazon EC2", "amazon"),
    ("Google Compute Engine", "google"),
    ("VMware", "vmware"),
    ("innotek GmbH", "virtualbox"),
    ("VirtualBox", "virtualbox"),
    ("Xen", "xen"),
    ("Microsoft Corporation", "hyperv"),
    ("Parallels", "parallels"),
    ("BHYVE", "bhyve"),
    ("OpenStack", "openstack"),
)

#: What a container engine makes the root of a container of.
_LAYERED = frozenset(("aufs", "btrfs", "fuse.fuse-overlayfs", "overlay", "zfs"))


def clock(look: Look) -> dict[str, Any]:
    """Give the clock source that the kernel uses, and those that it could."""
    return {
        "source": look.text(_CLOCK, "current_clocksource"),
        "available": look.words(_CLOCK, "available_clocksource"),
    }


def watchdogs(look: Look) -> list[dict[str, Any]]:
    """Give each watchdog: *device*, *identity*, *timeout* in seconds (None if it does not tell), and whether it runs.

    None of them is opened: that would start it.
    """
    found = []
    for name in look.names("sys/class/watchdog"):
        timeout = look.text("sys/class/watchdog", name, "timeout")
        found.append(
            {
                "device": f"/dev/{name}",
                "identity": look.text("sys/class/watchdog", name, "identity"),
                "timeout": int(timeout) if timeout.isdigit() else None,
                "active": look.text("sys/class/watchdog", name, "state") == "active",
            }
        )
    return found


def virtualisation(look: Look) -> dict[str, Any]:
    """Give *hypervisor* and *container*: the name of each, "" where there is none, other where nobody knows its name."""
    return {"hypervisor": _hypervisor(look), "container": _container(look)}


def _hypervisor(look: Look) -> str:
    said = [look.text("sys/class/dmi/id", name) for name in ("product_name", "sys_vendor", "bios_vendor")]
    for text in said:
        for word, name in _VENDORS:
            # Microsoft makes machines of metal too.
            if word in text and (name != "hyperv" or "Virtual Machine" in said):
                return name
    kind = look.text("sys/hypervisor/type")
    if kind:
        return kind
    flags = next((line for line in look.text("proc/cpuinfo").splitlines() if line.startswith("flags")), "")
    return "other" if "hypervisor" in flags.split() else ""


def _container(look: Look) -> str:
    # The file alone says little: images are unpacked into machines too.
    if look.exists(".dockerenv") and _root_type(look) in _LAYERED:
        return "docker"
    if look.exists("run/.containerenv"):
        return "podman"
    said = look.text("run/systemd/container")
    if not said:
        variables = look.text("proc/1/environ").split("\0")
        said = next((value[len("container=") :] for value in variables if value.startswith("container=")), "")
    return said


def _root_type(look: Look) -> str:
    kinds = [""]
    for line in look.text("proc/self/mountinfo").splitlines():
        fields = line.split()
        if fields[4] == "/" and "-" in fields:
            kinds.append(fields[fields.index("-") + 1])
    return kinds[-1]


def user() -> dict[str, Any]:
    """Give who asks: *uid*, and whether he is root."""
    return {"uid": os.geteuid(), "root": os.geteuid() == 0}
