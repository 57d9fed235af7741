# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""daemontools-encore as a backend. PRIVATE to the collection.

No distribution that is known to us packages it: the supervisor role takes the directory of its programs and runs its
svscan with that in front of the search path. It is daemontools with more states in the status file, and it gives
each start a session of its own.
"""

from __future__ import annotations

from .daemontools import UNWANTED, Daemontools
from .family_scripts import ANSWERED, Dialect


class DaemontoolsEncore(Daemontools):
    """svscan of daemontools-encore on SCAN/.daemontools_encore."""

    name = "daemontools_encore"
    form = "daemontools_encore"
    # Its svscan ends when it has nothing to look after (1.11), which is how a host begins.
    idle = "+idle"
    # To the first u of a service that was to be down, its next end is that of `start`: one by a signal, as of a process that is
    # just being stopped, is a failure, and the service stays down. The second one takes that back. Both are read together.
    up = b"uu"
    dialect = Dialect("daemontools-encore", notification=False, session="", finish=ANSWERED, asked=UNWANTED)
    native = Daemontools.native
    supplied = Daemontools.supplied
