# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Operations that are Python functions: their file, which root alone can have written. PRIVATE to the collection."""

from __future__ import annotations

import gc
import os
import stat
import types
from importlib import machinery

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Longest file, in bytes.
LONGEST = 1048576


#: Modules of the standard library that do nothing but be there when they are loaded, and that take a while for that.
_USUAL = (
    *(
        "base64",
        "collections",
        "contextlib",
        "dataclasses",
        "datetime",
        "enum",
        "functools",
        "glob",
        "hashlib",
        "ipaddress",
    ),
    *("json", "pathlib", "re", "shlex", "shutil", "signal", "socket", "struct", "subprocess", "tempfile", "typing"),
)
#: Longest file that is compiled beforehand, in bytes: a tenth of a second.
_READY = 65536
#: What was compiled beforehand, by path: the text, and the code that it is.
_ready: dict[str, tuple[bytes, types.CodeType]] = {}


class Unusable(Exception):
    """The file can't be used; the text says why."""


def read(path: str) -> bytes:
    """Give the content of the file *path*. Raises Unusable.

    From component to component nothing is followed, and everything is to belong to root (or to us) and to be closed to
    others: nobody can exchange the file, before or after we looked. A folder like /tmp, where nobody can take away what is
    not his, will do.
    """
    here = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            # Opened without waiting: a FIFO in the place of the file would hold us up.
            flags = os.O_RDONLY | os.O_NONBLOCK if last else os.O_PATH | os.O_DIRECTORY
            below = os.open(part, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = below
            _trusted("/" + "/".join(parts[: number + 1]), os.fstat(here), last)
        text = os.read(here, LONGEST + 1)
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from None
    finally:
        os.close(here)
    if len(text) > LONGEST:
        raise Unusable(f"{path}: is longer than {LONGEST} bytes")
    return text


def _trusted(path: str, found: os.stat_result, last: bool) -> None:
    if last and not stat.S_ISREG(found.st_mode):
        raise Unusable(f"{path}: is no regular file")
    if found.st_uid not in (0, os.geteuid()):
        raise Unusable(f"{path}: belongs to uid {found.st_uid}, who may change it")
    shared = not last and found.st_mode & stat.S_ISVTX
    if found.st_mode & 0o022 and not shared:
        raise Unusable(f"{path}: others may write to it")


class _Loader(machinery.SourceFileLoader):
    """Takes the text that was read and judged, and nothing from the file system: no second look, and no cache."""

    def __init__(self, path: str, text: bytes) -> None:
        super().__init__("holdfast_operation", path)
        self._text = text

    def get_data(self, path: str) -> bytes:
        """Give the text; of anything else that Python would look for there is nothing."""
        if path != self.path:
            raise FileNotFoundError(path)
        return self._text

    def source_to_code(self, data: Any, path: Any, **options: Any) -> types.CodeType:  # type: ignore[override]
        """Give the code; it is not compiled again while the text is the same."""
        ready = _ready.get(path)
        if ready is not None and ready[0] == data:
            return ready[1]
        return super().source_to_code(data, path, **options)

    def path_stats(self, path: str) -> Any:
        """Have no cache used."""
        raise FileNotFoundError(path)


def prepare(path: str) -> None:
    """Compile a file, and load what it imports, for those that will be forked from here. What is wrong with it is found by them.

    What no file wants is not there: the end of a process, or its exec, takes time for each page that it has.
    """
    try:
        text = read(path)
        for name in _imported(text):
            __import__(name)
        if len(text) <= _READY:
            _ready[path] = text, compile(text, path, "exec", dont_inherit=True)
        gc.collect()
        gc.freeze()
    except Exception:
        return


def _imported(text: bytes) -> list[str]:
    """Give those of the usual modules that a file imports, by the look of it."""
    words = set()
    for line in text.splitlines():
        line = line.strip()
        if line.startswith((b"import ", b"from ")):
            words.update(line.replace(b",", b" ").split())
    return [name for name in _USUAL if name.encode() in words]


def rehearse() -> None:
    """Go through what `load` goes through."""
    _ready.setdefault("", (b"", compile("", "", "exec", dont_inherit=True)))
    load("", b"")


def load(path: str, text: bytes) -> types.ModuleType:
    """Run the content of a file and give the module. Raises Unusable.

    The standard library can be imported; nothing is looked for in the file's folder or in site-packages.
    """
    loader = _Loader(path, text)
    module = types.ModuleType(loader.name)
    module.__file__ = path
    try:
        loader.exec_module(module)
    except BaseException as error:  # whatever is wrong with the file is told to whoever calls
        kind, message = told(error, 200)
        raise Unusable(f"{path}: {kind}: {message}") from None
    return module


def told(error: BaseException, length: int) -> list[str]:
    """Give type and message of an exception as a caller is told them: at most *length* characters, no traceback."""
    try:
        message = str(error)
    except Exception:  # of an exception that can't even say what it is
        message = ""
    message = "".join(letter if letter.isprintable() else " " for letter in message[:length])
    return [type(error).__name__[:64], message]
