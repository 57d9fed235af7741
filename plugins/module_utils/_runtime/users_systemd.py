# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The systemd of an ordinary user as what starts his supervisor. PRIVATE to the collection.

It lives as long as a session of his does, or as long as the host if it lingers. Only then does it get units: below one that
ends with the task's own session the services would end too. Units that are there already stay in use.
"""

from __future__ import annotations

import contextlib
import os
import pwd

from .._supervise._systemd.manager import listens
from .files import MARKER, read_text
from .interpreter import Runner
from .systemd import RUNNING, Systemd, UnitError

#: A file here for each user whose systemd runs without a session, see loginctl(1).
LINGERING = "/var/lib/systemd/linger"
#: What need not be said to one that has ended: it has stopped its units, and reads them when it starts.
NEEDLESS = ("stop", "daemon-reload")


def account() -> str:
    """Give the name of the user that deploys."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def lingers() -> bool:
    """Tell whether systemd starts that of the user at boot."""
    return os.path.exists(f"{LINGERING}/{account()}")


def starts(what: str) -> str:
    """Say when the user's systemd starts *what*."""
    name = account()
    if lingers():
        return f"the systemd of {name} starts {what} at boot"
    return (
        f"the systemd of {name} starts {what} when he logs in, and stops {'it' if what == 'it' else 'them'} after that: "
        f"have root run `loginctl enable-linger {name}`"
    )


def nobody_starts(what: str = "it") -> str:
    """Say why nothing starts the supervisor of an ordinary user at boot, and what would. what: how it is called."""
    name, text = account(), f"nothing will start {what} at boot: it belongs to an ordinary user"
    if not os.path.isdir(RUNNING):
        return f"{text}, whom the init of this host has no place for"
    if not lingers():
        return f"{text}: have root run `loginctl enable-linger {name}`, then deploy again"
    return f"{text}, whose systemd lingers, but does not run or has units that are not ours"


def words(*arguments: str) -> list[str]:
    """Give the command that asks the user's systemd."""
    # A task comes over ssh without a session of its own.
    return ["env", f"XDG_RUNTIME_DIR={_runtime()}", "systemctl", "--user", *arguments]


def _runtime() -> str:
    return os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"


def remove_empty(folder: str) -> None:
    """Remove an empty folder of systemd's, and what is empty above it in somebody's configuration."""
    folder, home = folder.rstrip("/"), os.path.expanduser("~")
    with contextlib.suppress(OSError):
        os.rmdir(folder)
        while folder.startswith(f"{home}/.config/") and os.geteuid() != 0:
            folder = os.path.dirname(folder)
            os.rmdir(folder)


class UsersSystemd(Systemd):
    """The units of *texts* in the configuration of the user that deploys, for the supervisor of *scan*."""

    target = "default.target"
    journal = "journalctl --user -u"

    def __init__(self, texts: dict[str, str], run: Runner, scan: str) -> None:
        super().__init__(texts, run, os.path.expanduser("~/.config/systemd/user"), f"{_runtime()}/systemd/private")
        self._scan = scan

    @property
    def boots(self) -> str:  # type: ignore[override]
        """Say when it starts the supervisor."""
        return starts("it")

    def is_init(self) -> bool:
        """Tell whether it runs."""
        return listens(self._running)

    def is_used(self) -> bool:
        """Tell whether it starts the supervisor, or is to: not if its units are somebody else's or another tree's."""
        texts = [text for text in (read_text(self.path(name)) for name in self.texts) if text is not None]
        if any(MARKER not in text.splitlines() or f" in {self._scan}\n" not in text for text in texts):
            return False
        return bool(texts) or (self.is_init() and lingers())

    def differing(self) -> list[str]:
        """Give the names of the units whose files are not as they should be. Raises UnitError when it does not run."""
        if not self.is_init():
            raise UnitError(
                f"the units in {self._units} are to start the supervisor, and the systemd of {account()} does not run: have "
                f"root run `loginctl enable-linger {account()}`, or remove them (supervisor_state: absent) to go on without"
            )
        return super().differing()

    def stop(self) -> None:
        """Stop all units; one that has ended has stopped them. Raises UnitError."""
        if self.is_init():
            super().stop()

    def remove(self) -> None:
        """Disable the units and remove their files, and the folders that are empty then. Raises UnitError, OSError."""
        super().remove()
        remove_empty(os.path.join(self._units, f"{self.target}.wants"))
        remove_empty(self._units)

    def _command(self, *arguments: str) -> list[str]:
        return words(*arguments)

    def _systemctl(self, *arguments: str, check: bool = True) -> None:
        try:
            super()._systemctl(*arguments, check=check)
        except UnitError:
            # It may have ended since it was looked at.
            if arguments[0] not in NEEDLESS or self.is_init():
                raise
