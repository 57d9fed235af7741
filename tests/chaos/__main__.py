# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases under random faults, for an hour unless HOLDFAST_CHAOS_SECONDS says otherwise.

HOLDFAST_CHAOS_STORE names what it is about, and those share the time: `etcd`, guards of this machine and a network that loses
answers; `hosts`, three hosts with a supervisor and a member of etcd each; `sanlock`. The first two if it says nothing. What
was found goes to tests/output/chaos.json, for hosts to chaos.hosts.json, for sanlock to chaos.sanlock.json, and the histories beside them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def main() -> int:
    output = HERE.parent / "output"
    output.mkdir(exist_ok=True)
    stores = os.environ.get("HOLDFAST_CHAOS_STORE", "etcd hosts").split()
    seconds = float(os.environ.get("HOLDFAST_CHAOS_SECONDS", "3600"))
    os.environ["HOLDFAST_CHAOS_SECONDS"] = str(seconds / len(stores))
    os.environ.setdefault("HOLDFAST_CHAOS_MEMBERS", "3")
    os.environ.setdefault("HOLDFAST_CHAOS_REPORT", str(output / "chaos.json"))
    os.chdir(HERE.parent.parent)
    files = [str(HERE / f"test_leases_{store}.py") for store in stores]
    return int(pytest.main(["-q", "-p", "no:cacheprovider", *files, "-k", "never_two"]))


if __name__ == "__main__":
    sys.exit(main())
