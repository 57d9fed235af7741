# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signals for programs that stay. PRIVATE to the collection.

What Python has in `_signal`, below `signal`: that makes enumerations of the numbers, for which it loads a megabyte that a
process keeps for life. Numbers are plain ones here.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal

SIG_BLOCK = _signal.SIG_BLOCK
SIG_DFL = _signal.SIG_DFL
SIG_IGN = _signal.SIG_IGN
SIG_SETMASK = _signal.SIG_SETMASK
SIG_UNBLOCK = _signal.SIG_UNBLOCK
SIGALRM = _signal.SIGALRM
SIGCHLD = _signal.SIGCHLD
SIGCONT = _signal.SIGCONT
SIGHUP = _signal.SIGHUP
SIGINT = _signal.SIGINT
SIGKILL = _signal.SIGKILL
SIGPIPE = _signal.SIGPIPE
SIGQUIT = _signal.SIGQUIT
SIGRTMIN = _signal.SIGRTMIN
SIGSTOP = _signal.SIGSTOP
SIGTERM = _signal.SIGTERM
SIGUSR1 = _signal.SIGUSR1
SIGUSR2 = _signal.SIGUSR2
SIGWINCH = _signal.SIGWINCH
SIGXFSZ = _signal.SIGXFSZ
alarm = _signal.alarm
pidfd_send_signal = _signal.pidfd_send_signal
pthread_sigmask = _signal.pthread_sigmask
set_wakeup_fd = _signal.set_wakeup_fd
signal = _signal.signal
sigtimedwait = _signal.sigtimedwait
sigwait = _signal.sigwait
valid_signals = _signal.valid_signals


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
