# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One list of changes: it feeds `changed`, `actions`, the diff and check mode. PRIVATE to the collection.

A change is put on the list when it is planned. `done` tells whether it was made (in check mode: would be made); what
was planned and not made, because something before it failed, is not reported.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from .mask import Mask

#: Bytes of one file beyond which the diff only says how large it is: Ansible's own default for its modules.
FILE_LIMIT = 104448
#: Bytes of all file contents in one result; what comes after that is named without its content.
TOTAL_LIMIT = 4 * 1024 * 1024

SECRET_BEFORE = "(secret)\n"
EMPTY = "(an empty file)\n"
SECRET_AFTER = "(secret changed)\n"


class FileChange:
    """One file of a service directory: its content before and after, None where there is none.

    access_before, access_after: permissions and owner as text, shown when the content is the same. The content of a secret
    file is never shown.
    """

    __slots__ = ("access_after", "access_before", "after", "before", "path", "secret")

    def __init__(
        self,
        path: str,
        before: bytes | None,
        after: bytes | None,
        *,
        access_before: str = "",
        access_after: str = "",
        secret: bool = False,
    ) -> None:
        self.path = path
        self.before = before
        self.after = after
        self.access_before = access_before
        self.access_after = access_after
        self.secret = secret

    @property
    def content_differs(self) -> bool:
        """Tell whether the content changes, not the permissions alone."""
        return self.before != self.after

    def size(self) -> int:
        """Give the bytes that a diff of this file takes."""
        return 0 if self.secret else len(self.before or b"") + len(self.after or b"")


class Change:
    """One thing that is done to one service. `action` is the word of the result's list of actions."""

    __slots__ = ("action", "after", "before", "done", "files", "service")

    def __init__(
        self,
        service: str,
        action: str,
        *,
        files: Iterable[FileChange] = (),
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
    ) -> None:
        self.service = service
        self.action = action
        self.files = tuple(files)
        self.before = before
        self.after = after
        self.done = False


class Changes:
    """The changes of one run, in the order in which they are made."""

    def __init__(self) -> None:
        self._all: list[Change] = []
        self._by_service: dict[str, list[Change]] = {}

    def add(self, change: Change) -> Change:
        """Put a planned change on the list and give it back."""
        self._all.append(change)
        self._by_service.setdefault(change.service, []).append(change)
        return change

    def of(self, service: str) -> list[Change]:
        """Give what is planned for one service."""
        return self._by_service.get(service, [])

    def mark(self, service: str, *actions: str) -> None:
        """Note that the named actions of a service were made; without names, all of them."""
        for change in self.of(service):
            if not actions or change.action in actions:
                change.done = True

    def mark_all(self) -> None:
        """Note that everything was made: check mode says what a real run would do."""
        for change in self._all:
            change.done = True

    @property
    def changed(self) -> bool:
        """Tell whether anything was changed."""
        return any(change.done for change in self._all)

    def actions_of(self, service: str) -> list[str]:
        """Give what was done to one service."""
        return [change.action for change in self.of(service) if change.done]

    def actions(self) -> list[str]:
        """Give all that was done, one text for each action."""
        return [f"{change.service}: {change.action}" for change in self._all if change.done]

    def diff(
        self, mask: Mask | None = None, file_limit: int = FILE_LIMIT, total_limit: int = TOTAL_LIMIT
    ) -> list[dict[str, Any]]:
        """Give the diff as Ansible shows it: one entry for each file, and one for the states of the services.

        *mask* covers secrets in the contents of files that are not secret: one that was plain text until now.
        """
        mask = mask or Mask()
        entries: list[dict[str, Any]] = []
        left = total_limit
        before: dict[str, Any] = {}
        after: dict[str, Any] = {}
        for change in self._all:
            if not change.done:
                continue
            for file in change.files:
                size = file.size()
                left -= size
                entries.append(_entry(file, mask, file_limit, shown=left >= 0 or not size))
            if change.before is not None:
                # The first change of a service knows the state before the run, the last one the state after it.
                before.setdefault(change.service, change.before)
                after[change.service] = change.after
        if before:
            header = "state of the services"
            entries.append(
                {"before_header": header, "after_header": header, "before": _text(before), "after": _text(after)}
            )
        return entries


def _entry(file: FileChange, mask: Mask, limit: int, *, shown: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"before_header": file.path, "after_header": file.path}
    if not shown:
        entry.update(before="", after="(not shown: the differences of this run are too many)\n")
        return entry
    if not file.content_differs:
        entry.update(before=file.access_before + "\n", after=file.access_after + "\n")
        return entry
    for side, content, cover in (("before", file.before, SECRET_BEFORE), ("after", file.after, SECRET_AFTER)):
        if content is None:
            entry[side] = ""
        elif file.secret:
            entry[side] = cover
        elif not content:
            # Such as `down`, whose being there is all: a diff of texts would show nothing.
            entry[side] = EMPTY
        elif len(content) > limit:
            entry["src_larger" if side == "after" else "dst_larger"] = limit
        elif b"\0" in content:
            entry["src_binary" if side == "after" else "dst_binary"] = 1
        else:
            entry[side] = mask.text(content.decode("utf-8", "backslashreplace"))
    return entry


def _text(states: dict[str, Any]) -> str:
    return json.dumps(states, indent=4, sort_keys=True) + "\n"
