# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The list of changes: what it says is what was done."""

from __future__ import annotations

from ansible_collections.holdfast.supervision.plugins.module_utils._plan.change import Change, Changes, FileChange
from ansible_collections.holdfast.supervision.plugins.module_utils._plan.mask import Mask


def made(*files: FileChange) -> Changes:
    changes = Changes()
    changes.add(Change("web", "update", files=files))
    changes.mark_all()
    return changes


def test_only_what_was_done_counts() -> None:
    changes = Changes()
    changes.add(Change("web", "create", files=[FileChange("/x", None, b"x")]))
    changes.add(Change("web", "start", before={"state": "absent"}, after={"state": "ready"}))
    assert not changes.changed and changes.actions() == [] and changes.diff() == []
    changes.mark("web", "create")
    assert changes.changed
    assert changes.actions() == ["web: create"] and changes.actions_of("web") == ["create"]
    assert len(changes.diff()) == 1
    changes.mark("web")
    assert changes.actions_of("web") == ["create", "start"]


def test_states_are_told_in_one_entry_from_before_the_run_to_after_it() -> None:
    changes = Changes()
    changes.add(Change("web", "create", before={"state": "absent"}, after={"state": "started"}))
    changes.add(Change("web", "start", before={"state": "unknown"}, after={"state": "ready"}))
    changes.add(Change("db", "stop", before={"state": "up"}, after={"state": "down"}))
    changes.mark_all()
    (entry,) = changes.diff()
    assert '"state": "absent"' in entry["before"] and '"state": "ready"' in entry["after"]
    assert "unknown" not in entry["before"] and '"state": "down"' in entry["after"]


def test_a_diff_shows_files_that_come_change_and_go() -> None:
    new, changed, gone = made(
        FileChange("/new", None, b"a\n"), FileChange("/changed", b"a\n", b"b\n"), FileChange("/gone", b"b\n", None)
    ).diff()
    assert (new["before"], new["after"], new["after_header"]) == ("", "a\n", "/new")
    assert (changed["before"], changed["after"]) == ("a\n", "b\n")
    assert (gone["before"], gone["after"]) == ("b\n", "")


def test_an_empty_file_can_be_seen_to_come_and_go() -> None:
    new, gone = made(FileChange("/new", None, b""), FileChange("/gone", b"", None)).diff()
    assert (new["before"], new["after"]) == ("", "(an empty file)\n")
    assert (gone["before"], gone["after"]) == ("(an empty file)\n", "")


def test_secrets_are_never_shown() -> None:
    (entry,) = made(FileChange("/env/X", b"old", b"new", secret=True)).diff()
    assert entry["before"] == "(secret)\n" and entry["after"] == "(secret changed)\n"
    (entry,) = made(FileChange("/run", b"export X='hunter22'\n", b"exec x\n")).diff(Mask(["hunter22"]))
    assert "hunter22" not in str(entry)


def test_permissions_alone_are_a_change_too() -> None:
    change = FileChange("/run", b"x", b"x", access_before="mode 0644, owner 0", access_after="mode 0755, owner 0")
    assert not change.content_differs
    (entry,) = made(change).diff()
    assert entry["before"] == "mode 0644, owner 0\n" and entry["after"] == "mode 0755, owner 0\n"


def test_large_and_binary_files_are_named_only() -> None:
    large, binary = made(FileChange("/large", b"x" * 11, b"y"), FileChange("/binary", b"a", b"\0")).diff(file_limit=10)
    assert large["dst_larger"] == 10 and large["after"] == "y" and "before" not in large
    assert binary["src_binary"] == 1 and binary["before"] == "a"


def test_a_diff_has_an_end() -> None:
    entries = made(*(FileChange(f"/{number}", None, b"x" * 40) for number in range(5))).diff(total_limit=100)
    assert [entry["after"].startswith("x") for entry in entries] == [True, True, False, False, False]
    assert all(entry["after_header"] for entry in entries)


def test_text_that_is_no_utf8_is_shown_all_the_same() -> None:
    (entry,) = made(FileChange("/run", None, b"\xff\n")).diff()
    assert entry["after"] == "\\xff\n"
