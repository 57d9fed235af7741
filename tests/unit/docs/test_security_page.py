# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page on the helper's security: what it says of holes that others had is tested where it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SECTION = "## Holes of others, and what stands in their place"


def rows() -> list[list[str]]:
    _before, _heading, rest = (ROOT / "docs" / "security.md").read_text().partition(SECTION)
    lines = [line for line in rest.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("| ---")][1:]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_each_hole_has_a_test_that_is_there(row: list[str]) -> None:
    _found_in, _hole, _stops, tests = row
    names = re.findall(r"(test_\w+)`", tests)
    assert names, f"{row[0]} names no test"
    for name in names:
        assert list((ROOT / "tests").rglob(f"{name}.py")), f"{row[0]}: there is no {name}.py"


#: What was found in helpers of this kind, and asks for a test.
FOUND = (
    *(
        "CVE-2021-3560",
        "CVE-2013-4288",
        "CVE-2018-1116",
        "CVE-2021-4034",
        "CVE-2021-4115",
        "CVE-2015-4625",
        "CVE-2026-4897",
    ),
    *("CVE-2022-41974", "CVE-2022-41973", "CVE-2021-3156", "CVE-2019-14287", "CVE-2017-1000367", "CVE-2023-22809"),
    *("CVE-2025-32462", "CVE-2025-32463", "CVE-2024-52336", "CVE-2022-38065", "CVE-2022-42919", "CVE-2019-7304"),
    *("CVE-2022-0207", "LP 1628360", "LP 1623286", "LP 1715374", "BZ 1949146", "BZ 1926589", "BZ 1228322"),
)


@pytest.mark.parametrize("number", FOUND)
def test_each_kind_of_hole_is_there(number: str) -> None:
    assert any(number in row[0] for row in rows())
