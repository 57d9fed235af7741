# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runtime's archive: what is in it, what it is called, and what is refused."""

from __future__ import annotations

import ast
import base64
import json
import zlib
from pathlib import Path

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._runtime import archive
from ansible_collections.holdfast.supervision.plugins.plugin_utils import pack


def packed(document: object) -> str:
    return base64.b64encode(zlib.compress(json.dumps(document).encode())).decode()


def test_same_files_give_the_same_version_and_archive_whatever_their_order() -> None:
    one = {"__main__.py": b"a", "holdfast/x.py": b"b"}
    other = {"holdfast/x.py": b"b", "__main__.py": b"a"}
    assert archive.version_of(one) == archive.version_of(other)
    assert archive.encode(one) == archive.encode(other)


@pytest.mark.parametrize(
    "files",
    [
        {"__main__.py": b"a", "holdfast/x.py": b"c"},
        {"__main__.py": b"a", "holdfast/y.py": b"b"},
        {"__main__.py": b"a"},
        {"__main__.py": b"ab", "holdfast/x.py": b""},
    ],
)
def test_other_names_or_contents_are_another_version(files: dict[str, bytes]) -> None:
    assert archive.version_of(files) != archive.version_of({"__main__.py": b"a", "holdfast/x.py": b"b"})


def test_what_was_packed_comes_out_again() -> None:
    files = {"__main__.py": b"print()\n", "holdfast/_a/b.py": "ä\n".encode()}
    assert archive.decode(archive.encode(files), archive.version_of(files)) == files


@pytest.mark.parametrize(
    "name", ["../x.py", "/etc/x.py", "holdfast/../x.py", "holdfast/x.sh", "holdfast/.x.py", "x.py", "holdfast//x.py"]
)
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    files = {name: b""}
    with pytest.raises(archive.BadArchive, match="does not belong there"):
        archive.decode(packed({"format": 1, "files": {name: ""}}), archive.version_of(files))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no base64!",
        base64.b64encode(b"no zlib").decode(),
        packed([]),
        packed({"format": 2, "files": {}}),
        packed({}),
    ],
)
def test_a_damaged_archive_is_refused(text: str) -> None:
    with pytest.raises(archive.BadArchive):
        archive.decode(text, "0" * 16)


def test_a_cut_archive_is_refused() -> None:
    files = {"__main__.py": b"x" * 1000}
    raw = base64.b64decode(archive.encode(files))
    with pytest.raises(archive.BadArchive):
        archive.decode(base64.b64encode(raw[:-6]).decode(), archive.version_of(files))


def test_an_archive_of_another_version_is_refused() -> None:
    files = {"__main__.py": b""}
    with pytest.raises(archive.BadArchive, match="announced was"):
        archive.decode(archive.encode(files), "0" * 16)


def test_an_archive_that_would_fill_the_memory_is_refused() -> None:
    bomb = base64.b64encode(zlib.compress(b" " * (archive.SIZE_LIMIT + 1))).decode()
    with pytest.raises(archive.BadArchive, match="more than"):
        archive.decode(bomb, "0" * 16)


def test_the_runtime_is_packed_from_the_collection_and_is_small() -> None:
    runtime = pack.Runtime()
    files = archive.decode(runtime.archive(), runtime.version)
    assert "holdfast/_command/main.py" in files
    assert "holdfast/_supervise/_embedded/daemon.py" in files
    assert "holdfast/_supervise/_logwriter/daemon.py" in files
    # Sent once for each version and host; every task carries its own modules, whose limit is smaller.
    assert len(runtime.archive()) <= 606_000


def test_packing_ignores_byte_code_and_strangers(tmp_path: Path) -> None:
    for package in pack.PACKAGES:
        folder = tmp_path / package
        if package.endswith(".py"):
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.write_text("")
            continue
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").write_text("")
    before = pack.Runtime(str(tmp_path)).version
    (tmp_path / "_varlink" / "__pycache__").mkdir()
    (tmp_path / "_varlink" / "__pycache__" / "x.py").write_text("")
    (tmp_path / "_varlink" / "notes.txt").write_text("")
    (tmp_path / "_elsewhere").mkdir()
    (tmp_path / "_elsewhere" / "x.py").write_text("")
    assert pack.Runtime(str(tmp_path)).version == before
    (tmp_path / "_varlink" / "new.py").write_text("")
    assert pack.Runtime(str(tmp_path)).version != before


def test_nothing_in_the_runtime_imports_what_is_not_in_it() -> None:
    files = pack.runtime_files()
    modules = {name[:-3].replace("/", ".").removesuffix(".__init__") for name in files}
    missing = []
    for name, content in files.items():
        package = name[:-3].split("/")[:-1]
        for node in ast.walk(ast.parse(content)):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = [*package[: len(package) - node.level + 1], *(node.module.split(".") if node.module else [])]
                targets = [".".join(base)] if node.module else [".".join([*base, alias.name]) for alias in node.names]
                missing += [f"{name}: {target}" for target in targets if target not in modules]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                ("ansible", "ansible_collections")
            ):
                missing.append(f"{name}: {node.module}")
    assert not missing
