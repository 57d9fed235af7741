# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/backends.md tells what the backends declare and what the conformance suite has run."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def script(checkout: Path) -> Any:
    spec = importlib.util.spec_from_file_location("backends_page", checkout / "scripts" / "backends_page.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_that_of_the_last_run(script: Any) -> None:
    text = script.PAGE.read_text(encoding="utf-8")
    results = json.loads(script.RESULTS.read_text())
    assert script.page(text, results) == text, "run scripts/backends_page.py"


def test_the_last_run_was_one_of_this_suite(script: Any, checkout: Path) -> None:
    """Every behaviour of the suite was shown by some backend, and none that has gone is claimed."""
    suite = checkout / "tests" / "conformance" / "supervise"
    there = set(
        re.findall(r"^def (test_\w+)\(", "".join(one.read_text() for one in suite.glob("test_*.py")), re.MULTILINE)
    )
    results = json.loads(script.RESULTS.read_text())
    shown = {name for entry in results.values() for name in entry["behaviours"]}
    assert shown == there - {"test_it_is_refused"}, "run the conformance suite, then scripts/backends_page.py FOLDER"
