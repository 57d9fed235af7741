# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`holdfast guard --mode exec`: gets the leases, and then is the service. PRIVATE to the collection.

One process from the supervisor's start to the service's end: it stands in line itself, applies the process state when it has got
everything, and executes the command, which has the leases as descriptors. Nobody is there afterwards who could renew, hand
over, or see to what the service leaves behind; ../execution.py says what is lost, and the driver's `exec_holes` what is open.
"""

from __future__ import annotations

import fcntl
import os
import time

from ..._lean import signal
from ..._process_state.apply import StateError
from ..._supervise._embedded import files, identity
from .. import core, execution, trees
from ..interface import KEPT, Busy, LeaseError, StoreUnavailable
from . import accounts
from .descriptors import lift
from .guard import BUSY, UNUSABLE
from .speech import say
from .tokens import TokenFile
from .tree import FORWARDED, become
from .worker import attempt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..interface import Driver, Hole
    from .tree import Command

#: Seconds between two attempts after the line was left without a grant.
_AGAIN = 0.2
#: Seconds between two attempts while the store does not answer: at first, and at most.
_PATIENCE = (0.5, 5.0)
#: What the kernel lets nobody take, and nobody has to: it ends or stops us as it would the service.
_UNCAUGHT = frozenset((int(signal.SIGKILL), int(signal.SIGSTOP)))


class _Stopped(BaseException):
    """Somebody wants us to end before there is a service. No error, so that nobody takes it for one of the driver's."""


class Becoming:
    """Gets what the service *name* has to hold. folder: where state and token are. lock: the descriptor of its lock."""

    def __init__(self, name: str, folder: str, driver: Driver, command: Command, lock: int) -> None:
        self.name = name
        self.holes: list[Hole] = []
        self.resources: list[str] = []
        self.disks: dict[str, str] = {}
        self.parameters: dict[str, Any] = {}
        #: What of the definition it was started with, as the definition says it.
        self.definition = ""
        self.wait = True
        self.strict = True
        self._folder = folder
        self._driver = driver
        self._command = command
        self._lock = lock
        self._since = time.time()
        self._in_line = False

    def run(self) -> int:
        """Become the service. Returns only if that cannot be, with the exit code: 0 after an ordered stop."""
        try:
            return self._run()
        except _Stopped:
            return self._end(0)

    def _run(self) -> int:
        self._heed()
        try:
            self._publish(core.STANDBY)
            self._get_in()
            why = self._become()
        except (LeaseError, OSError) as error:
            self._say(str(error))
            return self._end(BUSY if isinstance(error, Busy) else UNUSABLE)
        # With the service's privileges there is nothing to tidy; the end of this process gives everything back.
        self._say(f"cannot start: {why}")
        return UNUSABLE

    def _end(self, code: int) -> int:
        """Give back what we may have; what cannot be given back goes with this process."""
        attempt(self._driver.release)
        self._driver.free()
        accounts.remove(self._folder)
        return code

    def _heed(self) -> None:
        """Let what stops the service stop us too; what else a service is sent means nothing while there is none."""
        asked: list[int] = []

        def stop(number: int, _frame: object) -> None:
            # Once: what then has to be done is not to be cut short.
            if not asked:
                asked.append(number)
                raise _Stopped

        for ignored in FORWARDED:
            signal.signal(ignored, lambda _number, _frame: None)
        for number in {int(signal.SIGTERM), int(signal.SIGINT), self._command.stop} - _UNCAUGHT:
            signal.signal(number, stop)

    def _publish(self, phase: str) -> None:
        """Write down what we are, for as long as this process lives: nobody will answer. Raises OSError."""
        pid = os.getpid() if phase == core.ACTIVE else 0
        told = {
            "name": self.name,
            "mode": execution.EXEC_MODE,
            "phase": phase,
            "in_line": self._in_line,
            # Whether the service is ready by its own word nobody hears.
            "ready": phase == core.ACTIVE,
            "since": self._since,
            "tree": pid,
            "tree_started": identity.start_time(pid) if pid else 0,
            "containment": "none",
            "definition": self.definition,
            "wants": self.resources,
            "disks": self.disks,
            "parameters": self.parameters,
        }
        accounts.write(self._folder, self._driver, self.holes, told)

    # -- getting in

    def _get_in(self) -> None:
        """Get everything, in line if need be. Raises Busy, LeaseError, OSError."""
        pause = _PATIENCE[0]
        probed = False
        while True:
            try:
                if not probed:
                    self._probe()
                    probed = True
                self._driver.acquire()
                return
            except Busy:
                if not self.wait:
                    raise
                self._line_up()
                pause = _PATIENCE[0]
            except StoreUnavailable as error:
                if not self.wait:
                    raise
                if pause == _PATIENCE[0]:
                    self._say(str(error))
                time.sleep(pause)
                pause = min(pause * 2, _PATIENCE[1])

    def _probe(self) -> None:
        holes = self._driver.probe() + self._driver.exec_holes() + self.holes
        if self.strict and holes:
            texts = "; ".join(f"{hole.name}: {hole.text}" for hole in holes)
            raise LeaseError(f"refused, because of what is open: {texts}. With safety standard it is accepted")
        self.holes = holes
        if self._driver.ttl is not None and KEPT not in self._driver.capabilities:
            raise LeaseError("mode exec: what is granted runs out here, and nobody would renew it; use mode guard")
        self._publish(core.STANDBY)

    def _line_up(self) -> None:
        if not self._in_line:
            self._in_line = True
            self._publish(core.STANDBY)
        try:
            self._driver.prepare_line()
            self._driver.line_up()
        except LeaseError as error:
            self._say(str(error))
            self._driver.leave_line()
            time.sleep(_AGAIN)

    # -- being the service

    def _become(self) -> str:
        """Execute the command. Returns only to say why not; everything is held then, and the state may be half applied."""
        driver, command = self._driver, self._command
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        granted = core.Event(core.GRANTED, driver.good_from)
        state, _actions = core.step(core.begin(driver.ttl, 0.0, driver.pace), granted, now)
        grants = driver.held()
        tokens, text = TokenFile(), accounts.lines(grants)
        tokens.write(text)
        files.replace(f"{self._folder}/token", text)
        command.token_fd = tokens.pass_to(command.passed)
        kept = [lift(one, inheritable=True) for one in driver.become()]
        command.environment.update(accounts.variables(grants, self._folder))
        command.environment["HOLDFAST_LEASE_FDS"] = " ".join(map(str, kept))
        command.environment.update(trees.own_mark())
        self._since = time.time()
        self._publish(core.ACTIVE)
        # Children of the service that have this descriptor do not have our lock: the one of fcntl is the process's own.
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        os.set_inheritable(self._lock, True)

        def look_once_more() -> None:
            if not core.may_start(state, time.clock_gettime(time.CLOCK_BOOTTIME)):
                raise StateError("the grant is too old by now")

        # From here on its default is the end of this process, and enough.
        if command.stop not in _UNCAUGHT:
            signal.signal(command.stop, signal.SIG_DFL)
        return become(command, look_once_more)

    def _say(self, text: str) -> None:
        """Tell people, where the service's output goes."""
        say(self.name, text)
