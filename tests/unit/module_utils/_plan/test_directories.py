# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Service directories: reading, and comparing with what is wanted."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._plan.directories import (
    Actual,
    Difference,
    Wanted,
    compare,
    look,
    owned,
)
from ansible_collections.holdfast.supervision.plugins.module_utils._plan.publish import Publisher

LINK = "/run/holdfast/supervise/web"


@pytest.fixture
def scan(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def wanted(run: str = "#!/bin/sh\n", secret: str | None = None, **meta: Any) -> Wanted:
    files = {"run": (run.encode(), 0o755)}
    if secret is not None:
        files["env/PASSWORD"] = (secret.encode(), 0o600)
    return Wanted("web", {"format": 1, "definition": "d1", **meta}, files, frozenset(files) - {"run"})


def differ(new: Wanted, actual: Actual, link: str = LINK) -> Difference:
    return compare(new, actual, "/scan", link, os.geteuid(), with_files=True)


def publish(scan: int, new: Wanted, revision: int = 1) -> None:
    publisher = Publisher(scan)
    publisher.build(new, revision, LINK)
    publisher.swap("web")
    publisher.clean()


def names(difference: Difference) -> list[str]:
    return [file.path.partition("/scan/web/")[2] for file in difference.files]


def test_a_new_directory(scan: int) -> None:
    actual = look("web", scan, wanted())
    assert actual.kind == "absent"
    difference = differ(wanted(), actual)
    assert difference.publish and difference.revision == 1
    assert names(difference) == ["run", "holdfast.json"]


def test_what_was_published_is_not_different(scan: int) -> None:
    new = wanted(secret="s", needs=["db"], backoff={"initial": 1.0})
    publish(scan, new)
    difference = differ(new, look("web", scan, new))
    assert not difference.publish and difference.revision == 1 and difference.files == []


@pytest.mark.parametrize(
    ("new", "revision", "changed"),
    [
        # What the definition itself tells needs no revision.
        (wanted("#!/bin/sh\n# other words\n", "s"), 1, ["run", "holdfast.json"]),
        (wanted(secret="s", definition="d2"), 1, ["holdfast.json"]),
        (wanted(secret="s", on_change="reload"), 1, ["holdfast.json"]),
        # What it does not tell: the value of a secret.
        (wanted(secret="t"), 2, ["env/PASSWORD", "holdfast.json"]),
        (wanted(secret="t", definition="d2"), 2, ["env/PASSWORD", "holdfast.json"]),
        (wanted(), 1, ["env/PASSWORD", "holdfast.json"]),
    ],
)
def test_what_changes_and_whether_the_process_has_to_know(
    scan: int, new: Wanted, revision: int, changed: list[str]
) -> None:
    publish(scan, wanted(secret="s"))
    difference = differ(new, look("web", scan, new))
    assert difference.publish
    assert difference.revision == revision
    assert names(difference) == changed


def test_a_revision_never_goes_back(scan: int) -> None:
    publish(scan, wanted(secret="s"), revision=7)
    assert differ(wanted(secret="s", definition="d2"), look("web", scan, wanted(secret="s"))).revision == 7


def test_a_run_file_edited_on_the_host_may_be_what_runs(scan: int, tmp_path: Path) -> None:
    publish(scan, wanted())
    (tmp_path / "web" / "run").write_text("#!/bin/sh\nexec other\n")
    difference = differ(wanted(), look("web", scan, wanted()))
    assert difference.publish and difference.revision == 2


@pytest.mark.parametrize(
    ("spoil", "changed"),
    [
        (lambda web: (web / "down").touch(), ["down"]),
        (lambda web: (web / "finish").write_text("x"), ["finish"]),
        (lambda web: (web / "run").unlink(), ["run"]),
        (lambda web: (web / "run").chmod(0o644), ["run"]),
        (lambda web: web.chmod(0o700), []),
        (lambda web: ((web / "supervise").unlink(), (web / "supervise").symlink_to("/elsewhere")), []),
        (lambda web: (web / "holdfast.json").chmod(0o666), ["holdfast.json"]),
        (lambda web: ((web / "run").unlink(), (web / "run").symlink_to("/bin/true")), ["run"]),
        (lambda web: ((web / "run").unlink(), os.mkfifo(web / "run")), ["run"]),
    ],
)
def test_drift_is_found(scan: int, tmp_path: Path, spoil: Any, changed: list[str]) -> None:
    publish(scan, wanted())
    spoil(tmp_path / "web")
    difference = differ(wanted(), look("web", scan, wanted()))
    assert difference.publish
    assert names(difference) == changed


def test_a_manifest_that_is_none_is_set_right(scan: int, tmp_path: Path) -> None:
    publish(scan, wanted())
    meta = json.loads((tmp_path / "web" / "holdfast.json").read_text())
    (tmp_path / "web" / "holdfast.json").write_text(json.dumps({**meta, "files": ["run"]}))
    (tmp_path / "web" / "run").write_text("other")
    assert names(differ(wanted(), look("web", scan, wanted()))) == ["run", "holdfast.json"]


@pytest.mark.parametrize("name", ["data", "supervise/", "notes.txt"])
def test_what_is_not_ours_is_no_difference(scan: int, tmp_path: Path, name: str) -> None:
    publish(scan, wanted())
    if name == "supervise/":
        (tmp_path / "web" / "supervise").unlink()
        (tmp_path / "web" / "supervise").mkdir()
    else:
        (tmp_path / "web" / name).touch()
    assert not differ(wanted(), look("web", scan, wanted())).publish


def test_whose_directory_it_is(scan: int, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "plain")
    assert [look(name, scan).kind for name in ("plain", "file", "link", "none")] == ["foreign"] * 3 + ["absent"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 2}', '{"format": "1"}'])
def test_a_damaged_holdfast_json_is_told_apart(scan: int, tmp_path: Path, content: str) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "holdfast.json").write_text(content)
    actual = look("web", scan)
    assert actual.kind == "broken" and "holdfast.json" in actual.problem


def test_a_manifest_cannot_lead_out_of_its_directory(scan: int, tmp_path: Path) -> None:
    bad = ["../other", "/etc/passwd", "env/../../x", "a/b/c", "..", ".", "", "env/", "env//x"]
    assert not owned({"files": dict.fromkeys([*bad, "own"], "")}) & set(bad)
    (tmp_path / "web").mkdir()
    (tmp_path / "secret").write_text("x")
    (tmp_path / "web" / "env").symlink_to(tmp_path)
    meta = {"format": 1, "files": {"../secret": "", "env/secret": ""}}
    (tmp_path / "web" / "holdfast.json").write_text(json.dumps(meta))
    assert set(look("web", scan).files) == {"holdfast.json"}
