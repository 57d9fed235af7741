# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The directories that the supervisor works in, and the link that leads clients to its run directory.

PRIVATE to the collection.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
import tempfile

from .files import make_directory

#: The supervisor's own directory in the scan directory.
LINK = ".holdfast"


class Unsafe(Exception):
    """A directory is not what it must be, and correcting it is not ours to do; nothing was changed."""


class Place:
    """One directory: who is to own it, and the mode that it gets when it is made."""

    __slots__ = ("mode", "path", "purpose", "user")

    def __init__(self, purpose: str, path: str, mode: int, user: str | None = None) -> None:
        self.purpose = purpose
        self.path = path
        self.mode = mode
        #: None is the user that this runs as.
        self.user = user


def is_missing(place: Place) -> bool:
    """Tell whether *place* has to be made. Raises Unsafe if what is there belongs to, or can be changed by, others.

    An existing directory is never changed: it may be somebody else's, named by mistake.
    """
    try:
        found = os.stat(place.path)
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        raise Unsafe(f"{place.path} ({place.purpose}): a part of its path is no directory") from None
    if not stat.S_ISDIR(found.st_mode):
        raise Unsafe(f"{place.path} ({place.purpose}) is no directory")
    owner = place.user or _name_of(os.geteuid())
    uid = uid_of(place.user)
    if uid is not None and found.st_uid != uid:
        raise Unsafe(
            f"{place.path} ({place.purpose}) belongs to {_name_of(found.st_uid)}, not to {owner}: choose another"
            f" directory, or give it to him: chown {owner} {place.path}"
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(found.st_mode)
        raise Unsafe(
            f"{place.path} ({place.purpose}) can be changed by others (mode {mode:04o}): chmod go-w {place.path}"
        )
    return False


def make(place: Place) -> None:
    """Make *place*, complete with owner and mode before it gets its name. Raises OSError, Unsafe."""
    parent = os.path.dirname(place.path)
    make_directory(parent)
    temporary = tempfile.mkdtemp(prefix=".holdfast-", dir=parent)
    try:
        if place.user is not None:
            try:
                entry = pwd.getpwnam(place.user)
            except KeyError:
                raise Unsafe(
                    f"{place.path} ({place.purpose}) is to belong to {place.user}, a user that does not exist"
                ) from None
            os.chown(temporary, entry.pw_uid, entry.pw_gid)
        os.chmod(temporary, place.mode)
        os.rename(temporary, place.path)
    except BaseException:
        os.rmdir(temporary)
        raise


def link_before(scan_directory: str) -> str | None:
    """Give what the link to the run directory names; the empty text for a real directory; None when there is none."""
    path = os.path.join(scan_directory, LINK)
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.EINVAL and os.path.isdir(path):
            return ""
        raise Unsafe(f"{path} is in the way: {error.strerror}") from None


def make_link(scan_directory: str, run_directory: str) -> None:
    """Have clients of the scan directory find the run directory. Raises OSError."""
    path = os.path.join(scan_directory, LINK)
    temporary = f"{path}.{os.getpid()}.new"
    os.symlink(run_directory, temporary)
    os.rename(temporary, path)


def remove_if_empty(path: str) -> bool:
    """Remove the directory *path* if nothing is in it; tell whether it went."""
    try:
        os.rmdir(path)
    except OSError:
        return False
    return True


def uid_of(user: str | None) -> int | None:
    """Give the uid of *user*, None if there is no such user yet; of no user, that of this process."""
    if user is None:
        return os.geteuid()
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
