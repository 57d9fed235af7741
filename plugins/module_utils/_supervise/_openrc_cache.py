# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What OpenRC keeps of all init scripts: the services, and what each needs. PRIVATE to the collection.

It is made anew when a script is younger, by whole seconds: one of the same second, or while it is ahead of the clock, OpenRC
does not see. `rc-status` passes that service over, and `rc-service` does not start what it needs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable

from . import programs
from .interface import BackendError

#: Where OpenRC keeps what it knows of this boot.
STATE = "/run/openrc"
COMMAND = ["rc-update", "-u"]
#: Who began before us may write it after us.
TURNS = 3

_services = re.compile(r"^depinfo_[0-9]+_service='(.*)'$", re.MULTILINE).findall


def run(command: list[str]) -> tuple[int, str, str]:
    """Run a program of OpenRC; gives return code, output and errors. Raises BackendError."""
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"}
    try:
        return programs.run(command, environment)
    except OSError as error:
        raise BackendError(_failed(str(error))) from None


def lacking(names: Iterable[str], state: str = STATE) -> set[str]:
    """Give those of *names* that are not in the cache; none where OpenRC has yet to make it."""
    try:
        with open(f"{state}/deptree", encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except OSError:
        return set()
    return set(names).difference(_services(text)) if text else set()


def renew(names: Iterable[str], runner: Callable[[list[str]], tuple[int, str, str]] = run, state: str = STATE) -> None:
    """Have the cache made anew, and all of *names* in it. Nothing where there is none. Raises BackendError."""
    names = set(names)
    for _turn in range(TURNS):
        if not os.path.exists(f"{state}/deptree"):
            return
        code, output, errors = runner(COMMAND)
        if code:
            raise BackendError(_failed(" ".join((errors or output).split()) or f"exit code {code}"))
        if not lacking(names, state):
            return
    raise BackendError(_failed(f"OpenRC passes over {', '.join(sorted(lacking(names, state)))}"))


def _failed(said: str) -> str:
    return f"rc-update -u: {said[-1000:]}: the scripts are in place, but OpenRC may not know them until that succeeds"
