# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes to the kernel's own files: parameters, and requests to look for devices again. PRIVATE to the collection."""

from __future__ import annotations

import json
import os
import re

from .. import paths
from .program import Failed


def parameter(table: str, key: str, value: str) -> None:
    """Set the kernel parameter *key* of the inventory's table to *value*, which its pattern or its range allows."""
    allowed = json.loads(table).get(key)
    if allowed is None:
        raise Failed(f"{key}: is not one of the inventory's")
    if isinstance(allowed, dict):
        low, high = allowed["minimum"], allowed["maximum"]
        if not re.fullmatch(r"0|-?[1-9][0-9]{0,18}", value) or not low <= int(value) <= high:
            raise Failed(f"{key}: is to be a whole number from {low} to {high}")
    elif not re.fullmatch(allowed, value):
        raise Failed(f"{key}: does not match {allowed}")
    # A dot in a name of the kernel, as that of a VLAN, is written as a slash.
    parts = [part.replace("/", ".") for part in key.split(".")]
    _write("/proc/sys", parts, value)


def scsi_scan(host: str) -> None:
    """Have a SCSI host look for devices on all its channels."""
    _write("/sys/class/scsi_host", [f"host{host}", "scan"], "- - -", links=True)


def block_rescan(device: str) -> None:
    """Have a block device's size, or an NVMe controller's name spaces, be read again."""
    if re.fullmatch(r"nvme[0-9]+", device):
        _write("/sys/class/nvme", [device, "rescan_controller"], "1", links=True)
    else:
        _write("/sys/block", [device, "device", "rescan"], "1", links=True)


def _write(folder: str, parts: list[str], value: str, links: bool = False) -> None:
    """Write to a file of the kernel. links: as in sysfs, whose links are the kernel's own."""
    path = "/".join([folder, *parts])
    if links:
        if any("/" in part or part in ("", ".", "..") for part in parts):
            raise Failed(f"{path}: leads elsewhere")
        target = path
    else:
        root = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            target = f"/proc/self/fd/{paths.find(root, paths.components('/'.join(parts)))}"
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CLOEXEC)
        os.write(descriptor, value.encode() + b"\n")
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
