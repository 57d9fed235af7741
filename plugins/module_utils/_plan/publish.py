# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Put service directories into place so that nobody ever sees half of one. PRIVATE to the collection.

A directory is built beside its name (`.NAME.new`) and then put there by one rename; what it replaces ends up under the
other name, hands over what is not ours, and is deleted. A run may be ended anywhere in between: `recover` of the next
run finishes it. What is not ours is never deleted: when its directory goes it is kept as `.NAME.kept`.
"""

from __future__ import annotations

import errno
import os

from .directories import (
    FOLDER_MODE,
    META,
    META_MODE,
    OWNER,
    RUNTIME,
    SECRET_FOLDER_MODE,
    SECRET_MODE,
    Actual,
    Wanted,
    look,
    meta_of,
    meta_text,
    owned,
)
from .handles import exchange, exists, is_directory, make_directory, open_directory, remove_tree, sync, write_file

#: Errors that mean "this file system cannot exchange two names", not "it went wrong".
_NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)


class Publisher:
    """Changes the scan directory *at* (a descriptor). One run at a time may use it: the caller holds the lock."""

    def __init__(self, at: int) -> None:
        self._at = at
        self._built: list[str] = []
        self._left: list[tuple[str, str | None]] = []
        self._taken: set[str] = set()
        self.kept: list[str] = []

    def recover(self, leftovers: list[str]) -> list[str]:
        """Finish what an interrupted run has left. Gives the names of the services that came back into place by it.

        *leftovers* are the entries of the scan directory that `leftover` knows.
        """
        restored = []
        # First .old: it may have to become the directory again that .new would be compared with.
        for entry in sorted(leftovers, key=lambda text: (not text.endswith(".old"), text)):
            name = leftover(entry)
            if name is None or entry.endswith(".kept"):
                continue
            if entry.endswith(".old") and not exists(name, self._at):
                os.rename(entry, name, src_dir_fd=self._at, dst_dir_fd=self._at)
                restored.append(name)
            else:
                self._discard(entry, None if entry.endswith(".gone") else name)
        return restored

    def build(self, wanted: Wanted, revision: int, link: str | None) -> None:
        """Make the directory beside its name. *link*: target of `supervise`, None to make no link.

        After a failure `abandon` deletes what was built.
        """
        entry = f".{wanted.name}.new"
        self._built.append(wanted.name)
        folder = make_directory(entry, self._at, FOLDER_MODE)
        subfolders: dict[str, int] = {}
        try:
            # First, and deleted last: by this file a later run knows whose directory it has found.
            write_file(META, folder, meta_text(meta_of(wanted, revision)), META_MODE)
            for path, (content, mode) in wanted.files.items():
                where, name = folder, path
                first, slash, rest = path.partition("/")
                if slash:
                    if first not in subfolders:
                        closed = first == "env"
                        subfolders[first] = make_directory(first, folder, SECRET_FOLDER_MODE if closed else FOLDER_MODE)
                    where, name = subfolders[first], rest
                write_file(name, where, content, SECRET_MODE if path in wanted.secrets else mode)
            if link is not None:
                os.symlink(link, "supervise", dir_fd=folder)
        finally:
            for descriptor in subfolders.values():
                os.close(descriptor)
            os.close(folder)

    def settle(self) -> None:
        """Bring what was built to the disk, so that a power cut leaves no empty files under the final names."""
        if self._built:
            sync(self._at)

    def abandon(self) -> None:
        """Delete what was built and not put into place."""
        for name in self._built:
            try:
                remove_tree(f".{name}.new", self._at, META)
            except OSError:
                # The next run deletes it; the failure that brought us here is the one to report.
                continue
        self._built = []

    def swap(self, name: str) -> None:
        """Put the built directory into place. A failure leaves the former one where it was."""
        new = f".{name}.new"
        if not exists(name, self._at):
            os.rename(new, name, src_dir_fd=self._at, dst_dir_fd=self._at)
            self._built.remove(name)
            if name in self._taken:
                self._left.append((f".{name}.old", name))
                self._hand_over(f".{name}.old", name)
            return
        former = new
        try:
            exchange(new, name, self._at)
        except OSError as error:
            if error.errno not in _NO_EXCHANGE:
                raise
            former = f".{name}.old"
            os.rename(name, former, src_dir_fd=self._at, dst_dir_fd=self._at)
            try:
                os.rename(new, name, src_dir_fd=self._at, dst_dir_fd=self._at)
            except OSError:
                os.rename(former, name, src_dir_fd=self._at, dst_dir_fd=self._at)
                raise
        self._built.remove(name)
        self._left.append((former, name))
        self._hand_over(former, name)

    def take(self, former: str, name: str) -> None:
        """Take the directory of a service that gets another name out of the scan directory.

        It lies where the former directory of *name* would: `swap` hands over what is not ours, an interrupted run's
        successor makes it the directory of *name*.
        """
        os.rename(former, f".{name}.old", src_dir_fd=self._at, dst_dir_fd=self._at)
        self._taken.add(name)

    def retire(self, name: str) -> None:
        """Take a directory out of the scan directory; `clean` deletes it."""
        gone = f".{name}.gone"
        os.rename(name, gone, src_dir_fd=self._at, dst_dir_fd=self._at)
        self._left.append((gone, None))

    def clean(self) -> None:
        """Delete what was replaced or retired: it has time, the services are on their way already."""
        left, self._left = self._left, []
        for entry, name in left:
            self._discard(entry, name)

    def _discard(self, entry: str, name: str | None) -> None:
        """Delete a directory of ours. What is not ours in it goes to *name* if that is ours, else it is kept."""
        if not is_directory(entry, self._at):
            return
        if name is not None and look(name, self._at).kind == "ours":
            self._hand_over(entry, name)
        actual = look(entry, self._at)
        if actual.kind == "ours" and self._has_foreign(entry, actual):
            kept = self._free(entry)
            os.rename(entry, kept, src_dir_fd=self._at, dst_dir_fd=self._at)
            self._strip(kept, actual)
            self.kept.append(kept)
        elif actual.kind == "ours" or not actual.entries - {META}:
            remove_tree(entry, self._at, META)

    def _has_foreign(self, entry: str, actual: Actual) -> bool:
        mine = owned(actual.meta)
        folders = _folders(mine)
        if actual.entries - mine - folders - RUNTIME:
            return True
        where = open_directory(entry, self._at)
        try:
            return any(_foreign_below(where, folder, mine) for folder in folders & actual.entries)
        finally:
            os.close(where)

    def _strip(self, entry: str, actual: Actual) -> None:
        """Delete what is ours from a directory that is kept, holdfast.json at last."""
        where = open_directory(entry, self._at)
        try:
            for path in sorted(owned(actual.meta) | RUNTIME, key=lambda text: text == META):
                if path.partition("/")[0] in actual.entries:
                    _remove(path, where)
            for folder in _folders(owned(actual.meta)) & actual.entries:
                try:
                    os.rmdir(folder, dir_fd=where)
                except OSError:
                    continue
        finally:
            os.close(where)

    def _free(self, entry: str) -> str:
        stem = entry.rpartition(".")[0] + ".kept"
        kept, number = stem, 0
        while exists(kept, self._at):
            number += 1
            kept = f"{stem}.{number}"
        return kept

    def _hand_over(self, former: str, name: str) -> None:
        """Move what is not ours from the former directory to the one in place, if its name is free there."""
        actual = look(former, self._at)
        if actual.kind != "ours":
            return
        mine = owned(actual.meta)
        folders = _folders(mine)
        moving = actual.entries - mine - folders
        if actual.link is not None:
            # Our own link; a directory `supervise` is a supervisor's and goes along.
            moving -= {"supervise"}
        if not moving and not folders & actual.entries:
            return
        source = open_directory(former, self._at)
        target = open_directory(name, self._at)
        try:
            for entry in moving:
                _move(entry, source, target)
            for folder in folders & actual.entries:
                for entry in _foreign_below(source, folder, mine, runtime=True):
                    if not exists(folder, target):
                        os.close(make_directory(folder, target, SECRET_FOLDER_MODE if folder == "env" else FOLDER_MODE))
                    _move(f"{folder}/{entry}", source, target)
        finally:
            os.close(source)
            os.close(target)


def leftover(entry: str) -> str | None:
    """Give the name of the service whose interrupted change has left *entry*; None for any other entry."""
    if not entry.startswith(".") or entry == ".holdfast":
        return None
    stem, dot, ending = entry[1:].rpartition(".")
    if not dot or not stem or ending not in ("new", "old", "gone"):
        return None
    return stem


def is_ours(actual: Actual) -> bool:
    """Tell whether prune may remove a directory."""
    return actual.kind == "ours" and actual.meta.get("owner", OWNER) == OWNER


def _folders(names: set[str]) -> set[str]:
    return {name.partition("/")[0] for name in names if "/" in name}


def _foreign_below(where: int, folder: str, mine: set[str], *, runtime: bool = False) -> list[str]:
    if not is_directory(folder, where):
        return []
    descriptor = open_directory(folder, where)
    try:
        return [
            entry
            for entry in os.listdir(descriptor)
            if f"{folder}/{entry}" not in mine and (runtime or entry not in RUNTIME)
        ]
    finally:
        os.close(descriptor)


def _move(path: str, source: int, target: int) -> None:
    if not exists(path, target):
        os.rename(path, path, src_dir_fd=source, dst_dir_fd=target)


def _remove(path: str, where: int) -> None:
    folder, slash, name = path.partition("/")
    if not slash:
        remove_tree(path, where)
        return
    if is_directory(folder, where):
        descriptor = open_directory(folder, where)
        try:
            remove_tree(name, descriptor)
        finally:
            os.close(descriptor)
