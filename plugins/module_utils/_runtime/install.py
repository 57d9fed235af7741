# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The runtime's versions in a directory of the host, and the one symbolic link that says which is used.

    ROOT/versions/VERSION/       one complete version: sources, byte code, and two files of ours:
        .interpreter             the build of Python that it was compiled for and tested with
        .in-use                  every process of this version holds a shared flock on it for as long as it lives
    ROOT/current                 -> versions/VERSION, switched by rename
    ROOT/previous                -> versions/VERSION, what `current` was before
    ROOT/.lock                   held while something here is changed

A version is complete before it gets its name, and never changes afterwards; whoever follows `current` sees a whole
version at any time. PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping

from . import archive
from .files import make_directory
from .interpreter import Interpreter, Runner

IN_USE = ".in-use"
INTERPRETER = ".interpreter"
#: How the names of byte code without docstrings end.
_BARE = ".opt-2.pyc"


class InstallError(Exception):
    """A step failed; what `current` names is what it was before. The text says which step and what to do."""


class Layout:
    """The paths below one runtime directory."""

    __slots__ = ("current", "lock", "previous", "root", "versions")

    def __init__(self, root: str) -> None:
        self.root = root
        self.versions = os.path.join(root, "versions")
        self.current = os.path.join(root, "current")
        self.previous = os.path.join(root, "previous")
        self.lock = os.path.join(root, ".lock")

    def tree(self, version: str) -> str:
        """Give the directory of *version*."""
        return os.path.join(self.versions, version)

    def named_by(self, link: str) -> str | None:
        """Give the version that `current` or `previous` names; None when there is none, or the link is not ours."""
        try:
            target = os.readlink(link)
        except OSError:
            return None
        folder, version = os.path.split(target)
        if folder != "versions" or not archive.VERSION_PATTERN.fullmatch(version):
            return None
        return version

    def active(self) -> str | None:
        """Give the version that `current` names."""
        return self.named_by(self.current)

    def present(self) -> list[str]:
        """Give the versions that are here, whole or not, sorted by name."""
        try:
            names = os.listdir(self.versions)
        except OSError:
            return []
        return sorted(name for name in names if archive.VERSION_PATTERN.fullmatch(name))


@contextlib.contextmanager
def locked(layout: Layout) -> Iterator[None]:
    """Keep other installers out of the runtime directory, which is made when it is not there. Raises OSError."""
    make_directory(layout.root)
    descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_whole(layout: Layout, version: str) -> bool:
    """Tell whether *version* is here with every file as it was shipped."""
    tree = layout.tree(version)
    files: dict[str, bytes] = {}
    try:
        for folder, folders, names in os.walk(tree):
            folders[:] = [name for name in folders if name != "__pycache__"]
            for name in names:
                path = os.path.join(folder, name)
                relative = os.path.relpath(path, tree)
                if archive.is_name(relative):
                    with open(path, "rb") as file:
                        files[relative] = file.read()
    except OSError:
        return False
    return archive.version_of(files) == version


def is_compiled(layout: Layout, version: str, interpreter: Mapping[str, object]) -> bool:
    """Tell whether *version* was compiled for, and tested with, this very build of the interpreter."""
    return _record(layout, version).get("identity") == dict(interpreter)


def program_of(layout: Layout, version: str) -> str | None:
    """Give the program that *version* was compiled for: what a link or a script at the interpreter's path leads to."""
    program = _record(layout, version).get("program")
    return program if isinstance(program, str) else None


def _record(layout: Layout, version: str) -> dict[str, object]:
    try:
        with open(os.path.join(layout.tree(version), INTERPRETER), encoding="utf-8") as file:
            record = json.load(file)
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def install(
    layout: Layout,
    version: str,
    files: Mapping[str, bytes],
    interpreter: Interpreter,
    identity: Mapping[str, object],
    run: Runner,
) -> None:
    """Add *version* beside the others: written, compiled and tested under another name, then renamed.

    Nothing that is in use changes. Raises InstallError, OSError; then nothing of the new version is left.
    """
    make_directory(layout.versions)
    building = tempfile.mkdtemp(prefix=".new-", dir=layout.versions)
    try:
        os.chmod(building, 0o755)
        for name, content in files.items():
            path = os.path.join(building, name)
            make_directory(os.path.dirname(path))
            _write(path, content)
        _write(os.path.join(building, IN_USE), b"")
        _make_runnable(building, layout.tree(version), interpreter, identity, run)
        _to_disk(building)
        final = layout.tree(version)
        if os.path.lexists(final):
            # A damaged one: aside, so that the name is without a whole version for two system calls only.
            os.rename(final, os.path.join(layout.versions, f".old-{version}-{os.getpid()}"))
        os.rename(building, final)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    _sync_directory(layout.versions)


def compile_again(
    layout: Layout, version: str, interpreter: Interpreter, identity: Mapping[str, object], run: Runner
) -> None:
    """Compile and test a version that is here for another build of the interpreter. Raises InstallError, OSError."""
    tree = layout.tree(version)
    _make_runnable(tree, tree, interpreter, identity, run)
    _to_disk(tree)


def switch(layout: Layout, version: str) -> str | None:
    """Make *version* the current one and remember which was; give that one. Raises OSError."""
    before = layout.active()
    if before == version:
        return None
    if before is not None:
        _link(layout.previous, f"versions/{before}")
    _link(layout.current, f"versions/{version}")
    _sync_directory(layout.root)
    return before


def roll_back(layout: Layout, version: str) -> None:
    """Make *version*, which must be here, the current one again. Raises InstallError, OSError."""
    with locked(layout):
        if not is_whole(layout, version):
            raise InstallError(f"the previous runtime {version} is not in {layout.versions} any more")
        switch(layout, version)


def prune(layout: Layout) -> list[str]:
    """Remove the versions that are neither current nor previous, and leftovers of interrupted runs.

    A version that a live process uses stays, whatever the links say. Gives the versions that went.
    """
    keep = {layout.active(), layout.named_by(layout.previous)}
    gone = []
    for version in layout.present():
        if version not in keep and _remove_unless_used(layout, layout.tree(version)):
            gone.append(version)
    with contextlib.suppress(OSError):
        for name in os.listdir(layout.versions):
            # Safe under the lock: nobody else is building, and a set-aside version may still be in use.
            if name.startswith((".new-", ".old-")):
                _remove_unless_used(layout, os.path.join(layout.versions, name))
    return gone


def in_use(tree: str) -> bool:
    """Tell whether a live process runs from *tree*."""
    try:
        descriptor = os.open(os.path.join(tree, IN_USE), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EACCES)
    finally:
        os.close(descriptor)
    return False


def remove(layout: Layout) -> None:
    """Remove everything of ours below the runtime directory, and the directory if nothing else is in it."""
    for link in (layout.current, layout.previous):
        if layout.named_by(link) is not None:
            os.unlink(link)
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(layout.versions):
            if archive.VERSION_PATTERN.fullmatch(name) or name.startswith((".new-", ".old-")):
                shutil.rmtree(os.path.join(layout.versions, name))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(layout.lock)
    for folder in (layout.versions, layout.root):
        try:
            os.rmdir(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                raise


def byte_compile(tree: str, final: str, interpreter: Interpreter, run: Runner) -> tuple[int, str, str]:
    """Compile what is in *tree*, and is going to be in *final*. Gives what *run* does. Raises OSError.

    Without docstrings: a daemon would keep a tenth of a megabyte of them for life.
    """
    # The sources of a version never change, so the byte code need not be checked against them at every start.
    # Tracebacks must name the final place, not the one of building.
    compiling = ["-m", "compileall", "-q", "-f", "-o", "2", "--invalidation-mode", "unchecked-hash"]
    if tree != final:
        compiling += ["-s", tree, "-p", final]
    outcome = run(interpreter.command(*compiling, tree))
    for folder, _folders, names in os.walk(tree):
        for name in names:
            if name.endswith(_BARE):
                # By this name it is found by an interpreter that was not told to leave documentation out.
                os.replace(os.path.join(folder, name), os.path.join(folder, name[: -len(_BARE)] + ".pyc"))
    return outcome


def _make_runnable(
    tree: str, final: str, interpreter: Interpreter, identity: Mapping[str, object], run: Runner
) -> None:
    for step, work in (
        ("byte-compile", lambda: byte_compile(tree, final, interpreter, run)),
        ("test", lambda: run(interpreter.command(tree, "selftest"))),
    ):
        code, output, errors = work()
        if code != 0:
            detail = (errors.strip() or output.strip())[-2000:]
            raise InstallError(f"could not {step} the runtime with {interpreter.path} (exit code {code}): {detail}")
    record = {"identity": dict(identity), "program": interpreter.program}
    _write(os.path.join(tree, INTERPRETER), json.dumps(record, sort_keys=True).encode() + b"\n")


def _remove_unless_used(layout: Layout, tree: str) -> bool:
    if in_use(tree):
        return False
    doomed = tree
    if not os.path.basename(tree).startswith("."):
        # Under another name first: what is half removed must not look like a version.
        doomed = os.path.join(layout.versions, f".old-{os.path.basename(tree)}-{os.getpid()}")
        os.rename(tree, doomed)
    shutil.rmtree(doomed, ignore_errors=True)
    return True


def _write(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o644)
        file.write(content)


def _link(path: str, target: str) -> None:
    temporary = f"{path}.{os.getpid()}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    os.symlink(target, temporary)
    os.rename(temporary, path)


def _to_disk(tree: str) -> None:
    """Have everything below *tree* on the disk before it gets its name: a power cut must not leave empty files."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if libc.syncfs(descriptor) == 0:
                return
        finally:
            os.close(descriptor)
    os.sync()


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
