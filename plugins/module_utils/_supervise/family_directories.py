# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The directories of a suite's own scan directory: compared, written, taken away. PRIVATE to the collection.

A directory is put into place by one rename and has from then on the same inode, since the suite works in it. Its files
are replaced one by one, each by one rename; they are read at the start or the end of a process only. What makes the
suite look at a directory anew (a logger that it did not have) makes a new directory.
"""

from __future__ import annotations

import os
import stat

from .family_scripts import LIVE, Files

#: Marks a directory as ours; the file is empty.
MARK = "holdfast"
LOG = "log"


def ours(root: str) -> set[str]:
    """Give the names of the directories of *root* that are ours, those under a dot too."""
    try:
        return {name for name in os.listdir(root) if os.path.isfile(f"{root}/{name}/{MARK}")}
    except OSError:
        return set()


def build(root: str, name: str, files: Files) -> None:
    """Put a new directory into place, whole. What is under that name must have gone. Raises OSError."""
    beside = f"{root}/.{name}.new"
    destroy(beside)
    for folder in ("", *sorted({path.rpartition("/")[0] for path in files} - {""})):
        os.mkdir(f"{beside}/{folder}" if folder else beside, 0o755)
        os.chmod(f"{beside}/{folder}" if folder else beside, 0o755)
    _write(f"{beside}/{MARK}", "", 0o644)
    for path, (text, mode) in files.items():
        _write(f"{beside}/{path}", text, mode)
    os.rename(beside, f"{root}/{name}")


def has_log(directory: str) -> bool:
    """Tell whether a directory was made with a logger."""
    return os.path.isdir(f"{directory}/{LOG}")


def update(directory: str, files: Files) -> set[str]:
    """Make the files of a directory what they shall be. Gives the names of those that were not. Raises OSError."""
    changed = set()
    for path, (text, mode) in files.items():
        full = f"{directory}/{path}"
        if _read(full) != (text, mode):
            if not os.path.isdir(os.path.dirname(full)):
                os.mkdir(os.path.dirname(full), 0o755)
            _write(f"{full}.new", text, mode)
            os.rename(f"{full}.new", full)
            changed.add(path)
    for path in _present(directory) - set(files):
        os.unlink(f"{directory}/{path}")
        changed.add(path)
    return changed


def same(directory: str, files: Files) -> bool:
    """Tell whether the files of a directory are what they shall be."""
    return _present(directory) == set(files) and all(_read(f"{directory}/{path}") == files[path] for path in files)


def _present(directory: str) -> set[str]:
    """Give the files of a directory that make it what it is."""
    found = set()
    for folder in ("", "control", LOG):
        try:
            entries = list(os.scandir(f"{directory}/{folder}"))
        except OSError:
            continue
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_file(follow_symlinks=False) and path not in (*LIVE, MARK) and not path.endswith(".new"):
                found.add(path)
    return found


def destroy(directory: str) -> None:
    """Delete a directory with all that is in it; nothing if there is none. Raises OSError."""
    try:
        entries = list(os.scandir(directory))
    except FileNotFoundError:
        return
    # The mark is last: by it a later run knows the rest as ours.
    for entry in sorted(entries, key=lambda one: one.name == MARK):
        if entry.is_dir(follow_symlinks=False):
            destroy(entry.path)
        else:
            os.unlink(entry.path)
    os.rmdir(directory)


def note(directory: str, name: str, text: str) -> None:
    """Write one of the files that change while the service lives. Raises OSError."""
    _write(f"{directory}/{name}.new", text, 0o644)
    os.rename(f"{directory}/{name}.new", f"{directory}/{name}")


def words(directory: str, name: str) -> list[str]:
    """Give the words of one of these files; none if there is none."""
    try:
        with open(f"{directory}/{name}", encoding="utf-8", errors="replace") as file:
            return file.read(4096).split()
    except OSError:
        return []


def text(directory: str, name: str) -> str:
    """Give one of these files as one line."""
    return " ".join(words(directory, name))


def changed_at(directory: str, name: str) -> float:
    """Give the unix time at which one of these files was written, 0 if there is none."""
    try:
        return os.stat(f"{directory}/{name}").st_mtime
    except OSError:
        return 0.0


def size(directory: str, name: str) -> int:
    """Give the length of one of these files."""
    try:
        return os.stat(f"{directory}/{name}").st_size
    except OSError:
        return 0


def _read(path: str) -> tuple[str, int] | None:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(), stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except OSError:
        return None


def _write(path: str, content: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        os.fchmod(descriptor, mode)
        os.write(descriptor, content.encode("utf-8", "surrogateescape"))
    finally:
        os.close(descriptor)
