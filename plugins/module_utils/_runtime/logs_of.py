# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Log directories that change hands with the backend: most write as the log writer's user, Supervisor as root.

PRIVATE to the collection.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat

from .host import Failed, Wanted

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def give(wanted: Wanted, done: bool) -> None:
    """Have the log directory and those below it belong to whom the backend writes as. Raises Failed, OSError.

    done: whether all services have moved. What goes to root is given after that, since the former owner still writes.
    Whoever owned them can change their names meanwhile: everything is opened and looked at, nothing is followed.
    """
    if os.geteuid() != 0:
        return
    uid, gid = 0, 0
    if wanted.log_user is not None:
        try:
            account = pwd.getpwnam(wanted.log_user)
        except KeyError:
            raise Failed(f"the logs are to belong to {wanted.log_user}, a user that does not exist") from None
        uid, gid = account.pw_uid, account.pw_gid
    try:
        top = os.open(wanted.log_directory, _FOLDER & ~os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        if os.fstat(top).st_uid != uid:
            os.fchown(top, uid, gid)
        for name in os.listdir(top) if done or uid != 0 else ():
            with contextlib.suppress(NotADirectoryError, FileNotFoundError):
                folder = os.open(name, _FOLDER, dir_fd=top)
                try:
                    _give_folder(folder, uid, gid)
                finally:
                    os.close(folder)
    finally:
        os.close(top)


def _give_folder(folder: int, uid: int, gid: int) -> None:
    former = os.fstat(folder).st_uid
    if former == uid:
        return
    os.fchown(folder, uid, gid)
    for name in os.listdir(folder):
        # ELOOP: a link. What somebody else has put there stays his.
        with contextlib.suppress(OSError):
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            try:
                state = os.fstat(file)
                if stat.S_ISREG(state.st_mode) and state.st_nlink == 1 and state.st_uid == former:
                    os.fchown(file, uid, gid)
            finally:
                os.close(file)
