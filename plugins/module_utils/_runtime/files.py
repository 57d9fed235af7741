# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text files that belong to us: read, compare, replace in one step. PRIVATE to the collection."""

from __future__ import annotations

import contextlib
import os
import tempfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: A line of every file that we make outside of our own directories: only what has it is ours to change and remove.
MARKER = "# Made by holdfast.supervision; changes are overwritten."


#: What the names of half-written files begin with.
TEMPORARY = ".holdfast-"


def make_directory(path: str) -> None:
    """Make the directory *path* and what leads to it, readable by all, whatever the umask says. Raises OSError."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for name in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(name)
            os.chmod(name, 0o755)


def told(error: OSError, otherwise: str) -> str:
    """Say what could not be done and where, which is *otherwise* if the error names nothing.

    Of a link and of a rename it is the new name: the first one is what a link leads to, and nothing was done there.
    """
    return f"{error.filename2 or error.filename or otherwise}: {error.strerror}"


def read_text(path: str) -> str | None:
    """Give the text of the file *path*; None when there is none. Raises OSError for anything else in its place."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def write_text(path: str, text: str, mode: int) -> None:
    """Replace the file *path*: readers see the old text or the new one, nothing between. Raises OSError."""
    folder = os.path.dirname(path)
    make_directory(folder)
    descriptor, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=folder)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def relative(options: dict[str, Any], *names: str) -> str:
    """Say which of these options of a module is no absolute path, "" if all that are given are."""
    for name in names:
        path = options[name]
        if path is not None and not path.startswith("/"):
            return f"{name}: {path}: must be an absolute path; nothing was changed"
    return ""
