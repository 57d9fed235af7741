# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that hold for the collection as a whole, so that no part can forget them."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parent.parent.parent
PLUGINS = CHECKOUT / "plugins"
MODULES = sorted(path for path in (PLUGINS / "modules").glob("*.py") if path.name != "__init__.py")
UTILITIES = sorted((PLUGINS / "module_utils").rglob("*.py"))

#: What the long-lived processes are made of. Each module that they load costs every host memory for good.
DAEMONS = (
    "_supervise/_attend/",
    "_supervise/attending.py",
    "_supervise/schedule.py",
    "_supervise/_embedded/",
    "_supervise/_logwriter/",
    "_process_state/",
    "_varlink/",
    "_helper/",
    "_jobs/",
    "_command/main.py",
)
HEAVY = {"asyncio", "concurrent", "dataclasses", "enum", "inspect", "logging", "pathlib", "subprocess", "typing"}

#: Where leases look at the wall clock, and what for. Nothing else may: a step of it must move no lease's end.
WALL_CLOCK = {
    "_lease/_etcd/client.py": "when a user's token is exchanged",
    "_lease/_etcd/tenure.py": "since when, for people",
    "_lease/_guard/becoming.py": "since when, for people",
    "_lease/_guard/guard.py": "since when, for people",
    "_lease/_guard/holder.py": "until when, for people",
    "_lease/_nfs/store.py": "since when, for people",
    "_lease/information.py": "until when, for people",
    "_lease/lockfile.py": "since when, for people",
    "_lease/remote_marks.py": "the end of a mark of which nobody here has seen the beginning",
    "_lease/sanlock.py": "since when, for people",
}


def identify(path: Path) -> str:
    return str(path.relative_to(PLUGINS))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Level and first word of every import anywhere in a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, (node.module or "").partition(".")[0]


def loaded_at_start(body: list[ast.stmt]) -> Iterator[str]:
    """The modules that are imported when a file is loaded, except for type checkers."""
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (word for level, word in imports(node) if level == 0)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            yield from loaded_at_start(node.orelse)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from loaded_at_start([child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)])


def calls(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def documentation(path: Path) -> dict[str, object]:
    """The DOCUMENTATION of a module or a fragment's attributes, without importing it."""
    for node in parse(path).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DOCUMENTATION":
            return dict(yaml.safe_load(ast.literal_eval(node.value)))
    return {}


def test_action_group_has_all_modules() -> None:
    groups = yaml.safe_load((CHECKOUT / "meta" / "runtime.yml").read_text())["action_groups"]
    assert groups["supervision"] == sorted(path.stem for path in MODULES)


@pytest.mark.parametrize("path", MODULES, ids=identify)
def test_module_says_what_it_supports(path: Path) -> None:
    document = documentation(path)
    fragments = document.get("extends_documentation_fragment", [])
    fragments = [fragments] if isinstance(fragments, str) else fragments
    assert isinstance(fragments, list)
    shared = any("holdfast.supervision.attributes" in fragment for fragment in fragments)
    attributes = document.get("attributes", {})
    assert isinstance(attributes, dict)
    assert shared or {"check_mode", "diff_mode", "platform"} <= set(attributes)


@pytest.mark.parametrize("path", MODULES, ids=identify)
def test_module_is_thin(path: Path) -> None:
    statements = [node for node in ast.walk(parse(path)) if isinstance(node, ast.stmt)]
    assert len(statements) <= 80, "a module holds documentation, an argument spec and a call"


@pytest.mark.parametrize("path", UTILITIES, ids=identify)
def test_module_utils_import_the_standard_library_and_each_other(path: Path) -> None:
    foreign = {word for level, word in imports(parse(path)) if level == 0 and word not in sys.stdlib_module_names}
    assert not foreign, "the collection itself is imported relatively, so that the same code runs as the runtime"


@pytest.mark.parametrize("path", UTILITIES, ids=identify)
def test_module_utils_leave_process_and_terminal_to_their_callers(path: Path) -> None:
    if "_command/" in identify(path):
        return
    used = set(calls(parse(path))) & {"print", "exit", "sys.exit", "os.system", "os.popen", "eval", "exec"}
    assert not used


@pytest.mark.parametrize(
    "path", [path for path in UTILITIES if any(name in str(path) for name in DAEMONS)], ids=identify
)
def test_daemons_load_nothing_heavy(path: Path) -> None:
    assert not HEAVY & set(loaded_at_start(parse(path).body))


@pytest.mark.parametrize("folder", sorted({path.parent for path in UTILITIES}), ids=identify)
def test_package_has_an_init_file(folder: Path) -> None:
    assert (folder / "__init__.py").is_file()


def test_no_lease_depends_on_the_wall_clock() -> None:
    found = {
        str(path.relative_to(PLUGINS / "module_utils"))
        for path in UTILITIES
        if "_lease" in path.parts
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Attribute) and node.attr in ("time", "time_ns", "CLOCK_REALTIME", "now", "utcnow")
        if isinstance(node.value, ast.Name) and node.value.id in ("time", "datetime")
    }
    assert found == set(WALL_CLOCK)
