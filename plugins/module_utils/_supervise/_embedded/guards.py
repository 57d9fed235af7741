# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Guards of leased services that others need to be active. PRIVATE to the collection.

A guard renames its report in whenever something has changed, and the kernel says so (dnotify). Nothing is asked of the
guard, which may be of an older runtime, stopped or killed; and what it wrote while no supervisor lived is there too.
"""

from __future__ import annotations

import fcntl
import os
import signal

from .. import active

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .host import Host

#: The signal before it is the supervisor's own, for its scan directory.
_CHANGED = signal.SIGRTMIN + 1


class Guards:
    """Watches the folders of guards; the host hears of it when something in them has changed."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._scan = host.scan or ""
        self._folders: dict[str, int] = {}
        host.loop.on_signal(_CHANGED, host.guards_changed)

    def watch(self, name: str) -> None:
        """Watch the guard of a service, whether it lives or not."""
        if name in self._folders:
            return
        try:
            self._folders[name] = _watched(active.folder(self._scan, name))
        except OSError as error:
            self._host.complain(f"{name}: {error.filename or 'its guard'} cannot be watched: {error.strerror}")

    def keep(self, names: set[str]) -> None:
        """Watch no others than these any more."""
        for name in set(self._folders) - names:
            os.close(self._folders.pop(name))

    def phase(self, name: str) -> str:
        """Give the phase of a guard, `active` only if its service is ready; "" if none lives."""
        return active.phase(self._scan, name)

    def stands_by(self, name: str, look: active.Look) -> bool:
        """Tell whether all that a service waits for are leases that others hold; see active.stands_by."""
        return active.stands_by(self._scan, name, look)


def _watched(folder: str) -> int:
    """Give the descriptor of a folder, which is made if need be; its changes are told while it is open. Raises OSError."""
    os.makedirs(folder, 0o755, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, _CHANGED)
        fcntl.fcntl(descriptor, fcntl.F_NOTIFY, fcntl.DN_RENAME | fcntl.DN_DELETE | fcntl.DN_MULTISHOT)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
