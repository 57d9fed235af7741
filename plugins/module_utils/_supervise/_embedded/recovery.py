# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Go on from what an earlier supervisor left: adopt what lives, deal with what died. PRIVATE to the collection.

It was killed, or replaced by an upgrade. Either way the records say what was running, and start-up is recovery.
"""

from __future__ import annotations

import time

from . import identity, record, status
from .children import EXITED, UNKNOWN, Exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .service import Service


def recover(one: Service, left: record.Record | None, marked: dict[bytes, int]) -> None:
    """Take *one* to where *left*, its record, says; without a record of this boot, to where its `down` file says.

    marked: pids by the mark of starts of which the record does not tell whether they happened.
    """
    if not one.load():
        one.note("cannot load", one.reason)
    if left is None or (left.boot, left.namespace) != (one.host.boot, one.host.namespace):
        if one.enabled and not one.host.openrc:
            one.up()
        else:
            one.rest("")
        return
    _restore(one, left)
    if left.phase == record.STARTING:
        left.pid = marked.get(left.token.encode(), 0)
        left.started = identity.start_time(left.pid) if left.pid else 0
        left.phase = record.RUNNING if left.pid else record.IDLE
    if left.phase == record.IDLE or not one.adopt(left):
        _settle_dead(one, left)


def _restore(one: Service, left: record.Record) -> None:
    one.want = left.want
    one.deaths, one.step = left.deaths, left.step
    one.since, one.up_since = left.since, left.up
    one.paused = bool(left.flags & record.PAUSED)
    one.removing = bool(left.flags & record.REMOVING)
    if left.kind:
        one.exit, one.exit_at = Exit(None), left.since
        one.exit.kind, one.exit.code = left.kind, left.code
        if left.kind != UNKNOWN:
            one.exit.status = left.code << 8 if left.kind == EXITED else left.code


def _settle_dead(one: Service, left: record.Record) -> None:
    """Nobody is there: it died, or was never started, while there was no supervisor."""
    if left.flags & record.FAILED:
        one.give_up("failed for good before the supervisor was restarted")
    elif left.phase == record.RUNNING:
        one.pid = left.pid
        one.died(Exit(None))
    elif left.phase == record.FINISHING:
        one.since = time.time_ns()
        one.finished(Exit(None))
    elif one.want == status.WANT_UP:
        one.resume()
    else:
        one.rest("")
