# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the table of features and backends in docs/backends.md, from what the backends declare and conformance has run.

After a change of either:

    rm -rf FOLDER; mkdir FOLDER; HOLDFAST_CONFORMANCE=FOLDER pytest -n 4 tests/conformance/supervise
    python3 scripts/backends_page.py FOLDER

Without a folder the table is written from the results of the last run, tests/conformance/supervise/results.json. A run
of some backends only replaces the results of those.
"""

from __future__ import annotations

import importlib
import json
import sys
import types
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parent.parent
PAGE = TOP / "docs" / "backends.md"
RESULTS = TOP / "tests" / "conformance" / "supervise" / "results.json"
BEGIN = "<!-- The table is written by scripts/backends_page.py. -->"
END = "<!-- Here it ends. -->"


def _module(name: str) -> Any:
    """Import a module of the collection from this checkout, without Ansible."""
    for package, path in (("holdfast_backends", TOP / "plugins"),):
        if package not in sys.modules:
            module = types.ModuleType(package)
            module.__path__ = [str(path)]
            sys.modules[package] = module
    return importlib.import_module(f"holdfast_backends.module_utils._supervise.{name}")


def collect(folder: Path) -> dict[str, Any]:
    """Give what the processes of a run have noted, by backend."""
    found: dict[str, Any] = {}
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_text().splitlines():
            noted = json.loads(line)
            entry = found.setdefault(noted["backend"], {"behaviours": {}, "by_hand": noted["by_hand"], "refused": []})
            if noted["refused"]:
                entry["refused"].append(noted["refused"])
            else:
                entry["behaviours"][noted["behaviour"]] = noted["features"]
    return {
        name: {
            "behaviours": dict(sorted(entry["behaviours"].items())),
            **({"by_hand": entry["by_hand"]} if entry["by_hand"] else {}),
            "refused": sorted(set(entry["refused"])),
        }
        for name, entry in sorted(found.items())
    }


def table(results: dict[str, Any]) -> str:
    """Give the table."""
    backends = _module("backends").BACKENDS
    lines = [BEGIN, "", "| feature | " + " | ".join(backends) + " |", "| --- |" + " --- |" * len(backends)]
    for feature, words in _module("interface").FEATURES.items():
        cells = [_cell(feature, backend, results.get(name, {})) for name, backend in backends.items()]
        lines.append(f"| {words} (`{feature}`) | " + " | ".join(cells) + " |")
    counts = [str(len(results.get(name, {}).get("behaviours", ()))) for name in backends]
    lines += ["| behaviours shown | " + " | ".join(counts) + " |"]
    where = ["by hand" if results.get(name, {}).get("by_hand") else "in CI" for name in backends]
    lines += ["| where they are shown | " + " | ".join(where) + " |", "", END]
    return "\n".join(lines)


def _cell(feature: str, backend: Any, results: dict[str, Any]) -> str:
    if feature not in backend.capabilities:
        return "refused" if feature in results.get("refused", ()) else "refused †"
    shown = any(feature in features for features in results.get("behaviours", {}).values())
    return ("native" if feature in backend.native else "ours") + ("" if shown else " †")


def page(text: str, results: dict[str, Any]) -> str:
    """Give the page with its table made anew."""
    before, _mark, rest = text.partition(BEGIN)
    return before + table(results) + rest.partition(END)[2]


def main() -> None:
    """Write results and page."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if len(sys.argv) > 1:
        results.update(collect(Path(sys.argv[1])))
        RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    main()
