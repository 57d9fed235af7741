# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases under random faults, for an hour unless HOLDFAST_CHAOS_SECONDS says otherwise.

They are those of an etcd of three members, or of three hosts of sanlock if HOLDFAST_CHAOS_STORE says so. What was found goes
to tests/output/chaos.json, and the whole history beside it.
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
    os.environ.setdefault("HOLDFAST_CHAOS_SECONDS", "3600")
    os.environ.setdefault("HOLDFAST_CHAOS_MEMBERS", "3")
    os.environ.setdefault("HOLDFAST_CHAOS_REPORT", str(output / "chaos.json"))
    os.chdir(HERE.parent.parent)
    store = os.environ.get("HOLDFAST_CHAOS_STORE", "etcd")
    return int(pytest.main(["-q", "-p", "no:cacheprovider", str(HERE / f"test_leases_{store}.py"), "-k", "never_two"]))


if __name__ == "__main__":
    sys.exit(main())
