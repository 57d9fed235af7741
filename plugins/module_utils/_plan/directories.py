# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Service directories as they are and as they shall be. PRIVATE to the collection.

`Wanted` comes from the payload, `Actual` from one look at the disk; `compare` tells the difference. Nothing here
changes anything.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from typing import Any

from .change import FileChange
from .handles import is_directory, open_directory, read_file

META = "holdfast.json"
#: Names that a supervisor gives a meaning to. In a directory of ours they are ours, listed or not.
RESERVED = frozenset(
    (
        "run",
        "finish",
        "check",
        "health",
        "guarded-finish",
        "guarded-check",
        "guarded-health",
        "down",
        "notification-fd",
        "timeout-kill",
        "timeout-finish",
        "down-signal",
        META,
    )
)
#: Notes for which definition a service with the state `once` has been started.
ONCE = "holdfast.once"
#: Made while a service runs: neither part of its definition nor anybody's property.
RUNTIME = frozenset(("supervise", "event", ONCE))
#: Files that a process is made of: after a change on the host the running one may be of either content.
FORMING = frozenset(("run", "notification-fd"))

OWNER = "services"
FOLDER_MODE = 0o755
SECRET_FOLDER_MODE = 0o700
SECRET_MODE = 0o600
META_MODE = 0o644


class Wanted:
    """One service directory as it shall be.

    meta: the content of holdfast.json without revision. files: relative name -> (content, mode); secrets: which of them
    are secret. verify and timeout are those of the payload. was: the name that the service had before, or "".
    """

    __slots__ = ("files", "meta", "name", "secrets", "timeout", "verify", "was")

    def __init__(
        self,
        name: str,
        meta: dict[str, Any],
        files: dict[str, tuple[bytes, int]],
        secrets: frozenset[str] = frozenset(),
        verify: dict[str, Any] | None = None,
        timeout: float | None = None,
        was: str = "",
    ) -> None:
        self.name = name
        self.was = was
        self.files = files
        self.secrets = secrets
        self.verify = verify or {}
        self.timeout = timeout
        self.meta = dict(meta)
        self.meta.setdefault("owner", OWNER)
        manifest = self.meta.get("files")
        if not isinstance(manifest, dict):
            manifest = {path: _digest(content) for path, (content, _mode) in files.items() if path not in secrets}
        # A digest of a secret would help whoever guesses: the manifest has its name only.
        self.meta["files"] = {**manifest, **dict.fromkeys(secrets, "")}

    @property
    def state(self) -> str:
        """started, stopped or once."""
        return str(self.meta.get("state") or "started")


class Actual:
    """One name of the scan directory as it is.

    kind: absent, ours, foreign or broken (`problem` says why). meta: the content of holdfast.json. entries: what the
    directory holds. link: the target of the link `supervise`; None when it is a directory; "" when there is nothing.
    files: relative name -> (content, mode, uid) of the files that are ours. once: the identity that was last started by the
    state `once`.
    """

    __slots__ = ("entries", "files", "kind", "link", "meta", "mode", "name", "once", "problem", "uid")

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self.kind = kind
        self.meta: dict[str, Any] = {}
        self.entries: frozenset[str] = frozenset()
        self.files: dict[str, tuple[bytes, int, int]] = {}
        self.link: str | None = ""
        self.mode = 0
        self.uid = -1
        self.problem = ""
        self.once = ""

    @property
    def revision(self) -> int:
        """Give the revision that the directory says it has."""
        value = self.meta.get("revision", 1)
        return value if isinstance(value, int) else 1

    @property
    def identity(self) -> str:
        """Give definition and revision, as the supervisor names them."""
        return identity(self.meta, self.revision)


def identity(meta: dict[str, Any], revision: int) -> str:
    """Give the text by which a running process is compared with its directory."""
    return f"{meta.get('definition', '')}.{revision}"


def owned(meta: dict[str, Any]) -> set[str]:
    """Give the relative names that are ours in a directory with this manifest."""
    files = meta.get("files")
    names = {name for name in files if _is_plain(name)} if isinstance(files, dict) else set()
    return names | RESERVED


def _is_plain(name: object) -> bool:
    """Tell whether a name of a manifest stays inside its directory: `file` or `folder/file`."""
    if not isinstance(name, str) or name.count("/") > 1:
        return False
    return all(part and not part.startswith("..") and part != "." for part in name.split("/"))


def look(name: str, at: int, wanted: Wanted | None = None, place: str | None = None) -> Actual:
    """Read the directory *name* of the scan directory *at*, with the files that are ours or wanted, once.

    *place* is the entry that is read instead, when an interrupted run has left the directory under another name.
    """
    try:
        folder = open_directory(place or name, at)
    except FileNotFoundError:
        return Actual(name, "absent")
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            return Actual(name, "foreign")
        raise
    try:
        return _read(name, folder, wanted)
    finally:
        os.close(folder)


def _read(name: str, folder: int, wanted: Wanted | None) -> Actual:
    entries = frozenset(os.listdir(folder))
    if META not in entries:
        actual = Actual(name, "foreign")
        actual.entries = entries
        return actual
    actual = Actual(name, "ours")
    actual.entries = entries
    state = os.fstat(folder)
    actual.mode, actual.uid = stat.S_IMODE(state.st_mode), state.st_uid
    meta = read_file(META, folder)
    problem = "holdfast.json cannot be read"
    if meta is not None:
        actual.files[META] = meta[0], stat.S_IMODE(meta[1].st_mode), meta[1].st_uid
        try:
            content = json.loads(meta[0])
        except ValueError as error:
            problem = f"holdfast.json is damaged ({error})"
        else:
            if isinstance(content, dict) and content.get("format") == 1:
                actual.meta, problem = content, ""
            else:
                problem = "holdfast.json is not of format 1"
    if problem:
        actual.kind, actual.problem = "broken", problem
        return actual
    names = owned(actual.meta)
    if wanted is not None:
        names.update(wanted.files)
    for path in names:
        first = path.partition("/")[0]
        if path == META or first not in entries or (first != path and not is_directory(first, folder)):
            continue
        found = read_file(path, folder)
        if found is not None:
            actual.files[path] = found[0], stat.S_IMODE(found[1].st_mode), found[1].st_uid
    if "supervise" in entries:
        try:
            actual.link = os.readlink("supervise", dir_fd=folder)
        except OSError:
            actual.link = None
    if ONCE in entries:
        found = read_file(ONCE, folder)
        actual.once = "" if found is None else found[0].decode("ascii", "replace")
    return actual


class Difference:
    """What publishing would change. `revision` is the one that the directory has afterwards."""

    __slots__ = ("files", "publish", "revision")

    def __init__(self, publish: bool, revision: int, files: list[FileChange]) -> None:
        self.publish = publish
        self.revision = revision
        self.files = files


def compare(wanted: Wanted, actual: Actual, scan: str, link: str, uid: int, *, with_files: bool) -> Difference:
    """Compare a directory with what it shall be. *link* is what `supervise` has to point to, *uid* who owns the files.

    The revision grows when something that a process has been given changes and the definition does not tell: the value
    of a secret, or a file that somebody has edited on the host. with_files: whether contents for a diff are collected.
    """
    files: list[FileChange] = []
    drift = renewed = False
    manifest = actual.meta.get("files")
    if not isinstance(manifest, dict):
        manifest = {}
    for path, (data, mode) in wanted.files.items():
        found = actual.files.get(path)
        if found is not None and found[0] == data and found[1] == mode and found[2] == uid:
            continue
        drift = True
        is_secret = path in wanted.secrets
        if found is not None and found[0] != data:
            renewed = renewed or is_secret or (path in FORMING and manifest.get(path) != _digest(found[0]))
        files.append(_file(scan, wanted.name, path, found, data, mode, uid, is_secret))
    for path, found in actual.files.items():
        if path not in wanted.files and path != META:
            drift = True
            files.append(_file(scan, wanted.name, path, found, None, None, uid, path.startswith("env/")))
    revision = actual.revision + renewed
    meta = meta_of(wanted, revision)
    found = actual.files.get(META)
    if actual.meta != meta or found is None or found[1] != META_MODE or found[2] != uid:
        drift = True
        if with_files:
            files.append(_file(scan, wanted.name, META, found, meta_text(meta), META_MODE, uid, False))
    drift = drift or actual.mode != FOLDER_MODE or actual.uid != uid
    drift = drift or (actual.link is not None and actual.link != link)
    return Difference(drift, revision, files)


def meta_of(wanted: Wanted, revision: int) -> dict[str, Any]:
    """Give the content of holdfast.json."""
    return dict(wanted.meta, revision=revision)


def meta_text(meta: dict[str, Any]) -> bytes:
    """Give holdfast.json as it is written: one key a line, in a stable order, so that diffs can be read."""
    return (json.dumps(meta, indent=1, sort_keys=True) + "\n").encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _file(
    scan: str,
    name: str,
    path: str,
    found: tuple[bytes, int, int] | None,
    after: bytes | None,
    mode: int | None,
    uid: int,
    secret: bool,
) -> FileChange:
    return FileChange(
        f"{scan}/{name}/{path}",
        None if found is None else found[0],
        after,
        access_before="" if found is None else f"mode {found[1]:04o}, owner {found[2]}",
        access_after="" if mode is None else f"mode {mode:04o}, owner {uid}",
        secret=secret,
    )


def secrets_of(actual: Actual) -> list[str]:
    """Give the values of the secrets that a directory has now: what logs and diffs tell of may be older than the inventory."""
    return [
        found[0].decode("utf-8", "surrogateescape") for path, found in actual.files.items() if path.startswith("env/")
    ]


def removal(actual: Actual, scan: str) -> list[FileChange]:
    """Give what a diff shows when the whole directory goes."""
    return [
        _file(scan, actual.name, path, found, None, None, 0, path.startswith("env/"))
        for path, found in sorted(actual.files.items())
    ]
