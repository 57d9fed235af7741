# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signals for programs that stay. PRIVATE to the collection.

What Python has in `_signal`, below `signal`: that makes enumerations of the numbers, for which it loads a megabyte that a
process keeps for life. Numbers are plain ones here.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from signal import (
        SIG_BLOCK,
        SIG_DFL,
        SIG_IGN,
        SIG_SETMASK,
        SIG_UNBLOCK,
        SIGALRM,
        SIGCHLD,
        SIGCONT,
        SIGHUP,
        SIGINT,
        SIGKILL,
        SIGPIPE,
        SIGQUIT,
        SIGRTMIN,
        SIGSTOP,
        SIGTERM,
        SIGUSR1,
        SIGUSR2,
        SIGWINCH,
        SIGXFSZ,
        alarm,
        pidfd_send_signal,
        pthread_sigmask,
        set_wakeup_fd,
        signal,
        sigtimedwait,
        sigwait,
        valid_signals,
    )
else:
    from _signal import (  # noqa: F401
        SIG_BLOCK,
        SIG_DFL,
        SIG_IGN,
        SIG_SETMASK,
        SIG_UNBLOCK,
        SIGALRM,
        SIGCHLD,
        SIGCONT,
        SIGHUP,
        SIGINT,
        SIGKILL,
        SIGPIPE,
        SIGQUIT,
        SIGRTMIN,
        SIGSTOP,
        SIGTERM,
        SIGUSR1,
        SIGUSR2,
        SIGWINCH,
        SIGXFSZ,
        alarm,
        pidfd_send_signal,
        pthread_sigmask,
        set_wakeup_fd,
        signal,
        sigtimedwait,
        sigwait,
        valid_signals,
    )


def number_of(name: str) -> int:
    """Give the number of a signal, TERM or SIGTERM, 0 if there is none of that name."""
    name = "SIG" + name.upper().removeprefix("SIG")
    return int(getattr(_signal, name, 0)) if "_" not in name else 0


def name_of(number: int) -> str:
    """Give the name of a signal, or its number if it has none."""
    for name in sorted(vars(_signal)):
        if name.startswith("SIG") and "_" not in name and getattr(_signal, name) == number:
            return name
    return str(number)
