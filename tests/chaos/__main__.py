# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases under random faults, for an hour unless HOLDFAST_CHAOS_SECONDS says otherwise.

HOLDFAST_CHAOS_STORE names what it is about, and those share the time. All of them if it says nothing:

    etcd     guards of this machine and a network that loses answers
    hosts    three hosts with a supervisor and a member of etcd each
    sanlock  three hosts of sanlock, whose storage fails
    file     guards of this machine
    group    the same with containment process_group, of which is measured what it lets through
    shared   guards that share a lease beside others that want it alone, with file and etcd
    exec     services without a guard
    tenures  very many of them in a row, with etcd
    nfs      three hosts with a directory on NFS, in an emulated machine

What was found goes to tests/output/chaos.STORE.json, the histories beside them, and a line for each to standard output.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent


def main() -> int:
    output = HERE.parent / "output"
    output.mkdir(exist_ok=True)
    stores = os.environ.get("HOLDFAST_CHAOS_STORE", "etcd hosts sanlock file group shared exec tenures nfs").split()
    seconds = float(os.environ.get("HOLDFAST_CHAOS_SECONDS", "3600"))
    os.environ["HOLDFAST_CHAOS_SECONDS"] = str(seconds / len(stores))
    os.environ.setdefault("HOLDFAST_CHAOS_MEMBERS", "3")
    os.environ.setdefault("HOLDFAST_CHAOS_PAIRS", "40")
    os.environ.setdefault("HOLDFAST_CHAOS_REPORT", str(output / "chaos.json"))
    os.chdir(HERE.parent.parent)
    files = [str(HERE / f"test_leases_{store}.py") for store in stores]
    report = Path(os.environ["HOLDFAST_CHAOS_REPORT"])
    reports = {store: report.with_suffix(f".{store}.json") for store in stores}
    for path in reports.values():
        path.unlink(missing_ok=True)
    result = int(pytest.main(["-q", "-p", "no:cacheprovider", *files, "-k", "never_two"]))
    for store, path in reports.items():
        print(f"{store}: {_told(json.loads(path.read_text()))}" if path.exists() else f"{store}: came to no end")
    return result


def _told(found: dict[str, Any]) -> str:
    """Give the figures of a report in a line."""
    if "let_through" in found:
        return (
            f"{found['faults']} faults in {found['seconds']:g} s, {found['tenures']} tenures, {len(found['violations'])} violations; of "
            f"{found['killed']} that left everything and whose guard was killed {found['let_through']} went on; seed {found['seed']}"
        )
    if "together" in found:
        return (
            f"{found['faults']} faults in {found['seconds']:g} s, {found['tenures']} tenures, of which {found['alone']} were alone and "
            f"{found['together']} began beside another one, {found['refused']} late writes refused, {len(found['violations'])} violations; "
            f"seed {found['seed']}"
        )
    handed = " / ".join(f"{found.get(f'handover_{part}', 0):.1f}" for part in ("p50", "p90", "p99", "max"))
    return (
        f"{found['faults']} faults in {found['seconds']:g} s, {found['tenures']} tenures, {found.get('pauses', 0)} pauses, "
        f"{found.get('refused', 0)} late writes refused, {len(found['violations'])} violations; "
        f"hand-over {handed} s (median, 90 %, 99 %, longest); seed {found['seed']}"
    )


if __name__ == "__main__":
    sys.exit(main())
