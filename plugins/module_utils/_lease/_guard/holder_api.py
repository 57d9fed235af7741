# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a holder of a lease answers, see holder.py. PRIVATE to the collection."""

from __future__ import annotations

from .. import core
from ..interface import NOTE, DriverRefused
from .api import INTERFACE, Api

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..._varlink import server
    from .holder import Holder


class HolderApi(Api):
    """The guard's interface, and what only a holder can do."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(holder)
        self._holder = holder

    def _further(self, peer: server.Peer, step: str, parameters: dict[str, Any]) -> bool:
        holder = self._holder
        if step == "Extend":
            seconds = parameters.get("ttl")
            if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
                raise DriverRefused("ttl has to be a number of seconds")
            holder.extend(float(seconds))
            if NOTE in holder.driver.capabilities and holder.state.phase == core.ACTIVE:
                self._ask_store(peer, lambda: holder.driver.annotate(holder.note()), holder.told)
            else:
                peer.reply(holder.told())
            return True
        if step == "Break":
            reason = str(parameters.get("reason") or "")
            if not reason:
                raise DriverRefused("breaking a lease needs a reason")
            holder.say(f"broken by user {peer.uid}, process {peer.pid}: {reason}")
            peer.reply({})
            holder.shut_down()
            return True
        if step in ("PrepareOut", "PrepareIn", "CompleteOut", "CompleteIn", "Cancel", "Acquire", "Release"):
            peer.error(f"{INTERFACE}.Refused", message=f"{holder.name}: holds a lease for {holder.owner}, no service")
            return True
        return super()._further(peer, step, parameters)
