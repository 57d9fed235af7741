# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guard of one service: carries out what the core decides. PRIVATE to the collection."""

from __future__ import annotations

import os
import time

from ..._lean import signal
from ..._supervise._embedded import files, identity
from ..._supervise._embedded.loop import Loop
from .. import core, execution, trees
from ..interface import Busy, LeaseError, Lost, StoreUnavailable
from . import accounts, kernel
from .descriptors import make_room
from .keeping import Keeping
from .pausing import Pausing
from .prepared import Prepared
from .renewals import Renewals
from .speech import say
from .tokens import TokenFile
from .tree import FORWARDED, Command, Tree
from .watching import Watching
from .worker import Worker, attempt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..._supervise._embedded.children import Exited
    from ..._supervise._embedded.loop import Timer
    from ..interface import Driver, Grant, Hole
    from .api import Api
    from .handovers import Handovers
    from .worker import Done, Work

BUSY = 75
UNUSABLE = 111
#: The exit code after a service that was ended because it was not healthy, or so that somebody else gets its leases.
UNHEALTHY = 69
#: Seconds between two attempts after the line was left without a grant.
_AGAIN = 0.2
#: Seconds between two attempts while the store does not answer: at first, and at most.
_PATIENCE = (0.5, 5.0)
#: Seconds between two looks at what a dead main process has left behind.
_LOOK = 0.01
#: The reason of an ordered stop.
_ASKED = "asked to stop"
#: Of one after which others are to have their turn.
_SICK, _WAY = "unhealthy", "made way"
#: Of one after which a chosen guard gets the leases.
HANDED_OVER = "handed over"


class Guard:
    """Holds the leases of the service *name* while its tree lives.

    folder: where state, token and socket are. report: the descriptor by which the supervisor hears of the service's readiness, or -1.
    """

    def __init__(self, name: str, folder: str, driver: Driver, command: Command, containment: str) -> None:
        self.name = name
        self.folder = folder
        self.driver = driver
        self.command = command
        self.containment = containment
        self.holes: list[Hole] = []
        #: By their names in the store; of those that are disks, where they are here.
        self.resources: list[str] = []
        self.disks: dict[str, str] = {}
        self.tokens = TokenFile()
        self.parameters: dict[str, Any] = {}
        #: What of the definition it was started with, as the definition says it.
        self.definition = ""
        self.report = -1
        self.keeping = Keeping(0.0)
        self.wait = True
        #: What is done when the leases are not renewed in time, and the seconds beyond their end that a pause may last.
        self.on_lost = core.ON_LOST_KILL
        self.patience = 0.0
        self.strict = True
        self.loop = Loop()
        self.renewals = Renewals(self)
        self._handovers: Handovers | None = None
        self.watching = Watching(self, None, None)
        self.pausing = Pausing(self)
        #: Children that are neither the tree nor the waiter: who hears of their end.
        self.children: dict[int, Exited] = {}
        self.state = core.begin(None, 10.0)
        self.since = time.time()
        self.code = 0
        self.tree: Tree | None = None
        #: The service's tree to be, while we stand in line.
        self._prepared: Prepared | None = None
        self._worker: Worker | None = None
        self._dead_man: kernel.DeadMan | None = None
        self._asking = False
        #: A take-over that waits for the answer to the present question, or is under way.
        self._next: tuple[Work, Done] | None = None
        self._taking = False
        self._patience = _PATIENCE[0]
        #: How many events are being dealt with, one within the other, and whether what is written down is not so any more.
        self._untold = 0
        self._stale = False
        self._waiter = 0
        #: Where the waiter says that it has what it waited for, and whether it has said so.
        self._word = -1
        self._turn = False
        self._in_line = False
        #: Whether we have been told to end.
        self._asked = False
        self._timer: Timer | None = None
        self._status = 0

    def run(self, grace: float) -> int:
        """Guard until the end and give the exit code: that of the service. Raises OSError, LeaseError before it begins."""
        self.state = core.begin(self.driver.ttl, grace, self.driver.pace, self.on_lost, self.patience)
        if self.driver.ttl is not None:
            make_room()
            try:
                self._worker = Worker(self.loop)
            except RuntimeError as error:
                raise LeaseError(str(error)) from None
            self._dead_man = kernel.DeadMan()
        for number in FORWARDED:
            self.loop.on_signal(number, lambda number=number: self._forward(number))  # type: ignore[misc]
        self.loop.on_signal(signal.SIGTERM, self.shut_down)
        self.loop.on_signal(signal.SIGCHLD, self._reap)
        self.publish()
        self._probe()
        if self.state.phase != core.ENDED:
            self.loop.run()
        self._die_as_the_service()
        return self.code

    def shut_down(self) -> None:
        """Have the service end in order, and the guard after it."""
        self._asked = True
        self.event(core.STOP, _ASKED)
        if self.state.phase == core.ENDED:
            self._leave()

    def event(self, kind: str, reason: str = "", sent: float = 0.0) -> None:
        """Let the core decide on an event, and do it."""
        phase = self.state.phase
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        self.state, actions = core.step(self.state, core.Event(kind, sent, reason), now)
        moved = self.state.phase != phase
        if moved:
            self.since = time.time()
        # Whoever waits for us is not to wait for what only people read: that is written when all is done.
        self._untold += 1
        for action, value in actions:
            getattr(self, f"_do_{action}")(value)
        self._untold -= 1
        if moved:
            self._stale = True
        if self._stale and not self._untold:
            self.publish()
        self._schedule()

    def publish(self) -> None:
        """Write down what we are at, for those who ask without asking us. An error is swallowed."""
        self._stale = self._untold > 0
        if not self._stale:
            self.write_down()

    def write_down(self) -> None:
        """Do so now, before somebody hears of it in another way. An error is swallowed."""
        told = {
            **self.told(),
            "name": self.name,
            "mode": execution.GUARD_MODE,
            "phase": self.state.phase,
            "in_line": self._in_line,
            "ready": self.watching.ready,
            "since": self.since,
            "tree": self.tree.pid if self.tree else 0,
            "tree_started": self.tree.started if self.tree else 0,
            "containment": self.containment,
            "definition": self.definition,
        }
        try:
            accounts.write(self.folder, self.driver, self.holes, told)
        except OSError as error:
            self.say(f"{self.folder}/state.json: {error.strerror}")

    def told(self) -> dict[str, Any]:
        """Give what a guard of this kind tells beyond what all tell."""
        return {"wants": self.resources, "disks": self.disks, "parameters": self.parameters}

    def say(self, text: str) -> None:
        """Tell people, where the service's output goes."""
        say(self.name, text)

    def store(self, work: Work, done: Done) -> None:
        """Have the driver ask the store and call *done* with what went wrong: at once, or later if that may take time."""
        if self._worker is None:
            done(attempt(work))
        else:
            self._worker.do(work, done)

    @property
    def asking(self) -> bool:
        """Say whether the driver is asking the store."""
        return self._worker is not None and not self._worker.idle

    def unhealthy(self, failures: int) -> None:
        """Have the service end, so that the leases are given back, and others in the line get their turn before us."""
        self.say(f"unhealthy: {failures} failures in a row")
        self.code = self.code or UNHEALTHY
        self.event(core.STOP, _SICK)

    def make_way(self, whom: str) -> None:
        """Have the service end, so that *whom*, who comes first, gets the leases."""
        if self.state.phase == core.ACTIVE and not (self._handovers and self._handovers.report()):
            self.say(f"makes way for {whom}, which comes first")
            self.code = self.code or UNHEALTHY
            self.event(core.STOP, _WAY)

    def ready(self) -> None:
        """Tell everybody who waits for it that the service is ready."""
        if self.tree is not None:
            self.tree.ready()
        self.publish()
        if self.report >= 0:
            try:
                os.write(self.report, b"\n")
            except OSError:
                pass  # The supervisor has lost its patience, or its life.
            os.close(self.report)
            self.report = -1

    def _drop(self) -> None:
        """In the tree's first process: close what is the guard's alone."""
        self.driver.drop_inherited()
        if self.report >= 0:
            os.close(self.report)

    @property
    def asked(self) -> bool:
        """Say whether somebody has asked for the service's end."""
        return self.state.reason == _ASKED

    @property
    def sick(self) -> bool:
        """Say whether the service was ended so that others get their turn."""
        return self.state.reason in (_SICK, _WAY)

    def api(self) -> Api:
        """Give what answers whoever asks us, loaded for the first. Raises ImportError, OSError."""
        from .api import Api

        return Api(self)

    @property
    def handovers(self) -> Handovers:
        """Give our part in handing over, loaded for the first who hands over."""
        if self._handovers is None:
            from .handovers import Handovers

            self._handovers = Handovers(self)
        return self._handovers

    # -- getting in

    def _probe(self) -> None:
        self._ask(self._look_for_holes, self._probed)

    def _look_for_holes(self) -> None:
        holes = self.driver.probe()
        if self.strict and (holes or self.holes):
            texts = "; ".join(f"{hole.name}: {hole.text}" for hole in holes + self.holes)
            raise LeaseError(f"refused, because of what is open: {texts}. With safety standard it is accepted")
        self.holes = holes + self.holes

    def _probed(self, error: LeaseError | None) -> None:
        if error is None:
            self._acquire()
        else:
            self._denied(error, self._probe)

    def _acquire(self) -> None:
        # The waiter's end is told twice, by itself and by the kernel, and the store may not have answered by then.
        if self.state.phase == core.STANDBY and not self._asking:
            self._ask(self.driver.acquire, self._acquired)

    def _ask(self, work: Work, done: Done) -> None:
        """Ask the store while nothing is held. If somebody wants us to leave meanwhile, the answer is waited for."""

        def answered(error: LeaseError | None) -> None:
            self._asking = False
            if not isinstance(error, StoreUnavailable):
                self._patience = _PATIENCE[0]
            granted = error is None and done == self._acquired
            if self.state.reason and not granted:
                self.event(core.REFUSED, self.state.reason)
            elif self._next is not None and done == self._acquired and not granted:
                self._take_over_now(*self._next)
            else:
                done(error)
                if granted and self._next is not None:
                    self._next[1](LeaseError("the guard has got its leases by itself meanwhile"))
                    self._next = None

        self._asking = True
        self.store(work, answered)

    def _acquired(self, error: LeaseError | None) -> None:
        if error is None:
            # A driver may learn only from its store how long a grant is good for.
            self.state = self.state._replace(ttl=self.driver.ttl)
            self.event(core.GRANTED, sent=self.driver.good_from)
        elif not isinstance(error, Busy):
            self._denied(error, self._acquire)
        elif self.wait:
            self._line_up()
        else:
            self.code = BUSY
            self.say(str(error))
            self.event(core.REFUSED, str(error))

    def take_over(self, work: Work, done: Done) -> bool:
        """Leave the line, have the driver get everything by *work*, and start the service; else stand in line again.

        It is begun as soon as the store has answered what it is being asked. *done* is called with what went wrong; if the
        guard ends before, it is not called. Gives whether it will be begun: there is one at a time.
        """
        if self._taking or self._next is not None:
            return False
        if self._asking:
            self._next = (work, done)
        else:
            self._take_over_now(work, done)
        return True

    def _take_over_now(self, work: Work, done: Done) -> None:
        def answered(error: LeaseError | None) -> None:
            self._asking = self._taking = False
            if error is None:
                self.state = self.state._replace(ttl=self.driver.ttl)
                self.event(core.GRANTED, sent=self.driver.good_from)
            elif self.state.reason:
                self.event(core.REFUSED, self.state.reason)
            else:
                self._line_up()
            done(error)

        self._next = None
        self._leave_line()
        self._asking = self._taking = True
        self.store(work, answered)

    def _denied(self, error: LeaseError, again: Callable[[], None]) -> None:
        """End, or try once more if it is only that the store does not answer now, and we were told to wait."""
        if self._patience == _PATIENCE[0] or not isinstance(error, StoreUnavailable):
            self.say(str(error))
        if self.wait and isinstance(error, StoreUnavailable):
            self.loop.later(self._patience, lambda: None if self.state.reason else again())
            self._patience = min(self._patience * 2, _PATIENCE[1])
            return
        self.code = UNUSABLE
        self.event(core.REFUSED, str(error))

    def _line_up(self) -> None:
        """Let a child wait in line for us: what it locks is ours, and nothing has to be polled."""
        if self._waiter:
            return
        self._in_line = True
        self.publish()
        self._listen_no_more()
        self._word = say = -1
        self._turn = False
        guard = os.getpid()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, (*FORWARDED, signal.SIGTERM, signal.SIGCHLD))
        try:
            self.driver.prepare_line()
            self._word, say = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            self._waiter = os.fork()
        except (OSError, LeaseError) as error:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            self.say(str(error))
            self._waiter = 0
            for descriptor in (self._word, say) if say >= 0 else ():
                os.close(descriptor)
            self._word = -1
            self.loop.later(_AGAIN * 10, self._again)
            return
        if not self._waiter:
            try:
                signal.set_wakeup_fd(-1)
                if self._prepared is not None:
                    self._prepared.tree.drop()
                kernel.die_with_parent()
                if os.getppid() == guard:
                    self.driver.line_up()
                    # Before the end, of which the guard hears only when the kernel has given all of our memory back.
                    os.write(say, b"!")
                    os._exit(0)
            except LeaseError as error:
                self.say(str(error))
            finally:
                os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(say)
        self.loop.watch(self._word, self._heard)
        self._prepare()

    def _prepare(self) -> None:
        """Have the first process of the service's tree at hand, which does nothing before we are granted everything.

        Where a thread of ours asks the store this is never forked beside it.
        """
        ahead = self.driver.ahead and self._worker is None and self.containment == trees.NAMESPACE
        if ahead and self._prepared is None:
            try:
                # So that there is a descriptor for it.
                self.tokens.write(b"")
                self._equip(True)
                self._prepared = Prepared(lambda: Tree(self.command, self.containment, self._drop))
            except (LeaseError, OSError):
                # It is made when it is needed, and what is in the way then is told.
                self.watching.end()

    def _equip(self, tokens: bool) -> None:
        """Make what the service is given as descriptors. tokens: whether it has any. Raises LeaseError, OSError."""
        self.command.passed = self.watching.prepare()
        if tokens:
            self.command.token_fd = self.tokens.pass_to(self.command.passed)

    def _make_tree(self, tokens: bool) -> Tree:
        """Give a tree that waits for its word. Raises LeaseError, OSError."""
        if self._prepared is None:
            self._equip(tokens)
        self.driver.prepare_tree()
        if self._prepared is None:
            return Tree(self.command, self.containment, self._drop)
        prepared, self._prepared = self._prepared, None
        return prepared.take()

    def _heard(self, _events: int) -> None:
        """Go on if the waiter has got what it waited for; if it has only ended, its end says what is to be done."""
        try:
            self._turn = bool(os.read(self._word, 1))
        except BlockingIOError:
            pass  # It has ended without a word, and a process of its own has not yet.
        self._listen_no_more()
        if self._turn and self.state.phase == core.STANDBY and not self.state.reason:
            self._acquire()

    def _listen_no_more(self) -> None:
        if self._word >= 0:
            self.loop.forget(self._word)
            os.close(self._word)
            self._word = -1

    def _again(self) -> None:
        if self.state.phase == core.STANDBY and not self._waiter and not self.state.reason:
            self._acquire()

    def _leave_line(self) -> None:
        self._listen_no_more()
        if self._waiter:
            os.kill(self._waiter, signal.SIGKILL)
            os.waitpid(self._waiter, 0)
            self._waiter = 0
        self.driver.leave_line()

    # -- what the core orders

    def _do_start(self, _value: None) -> None:
        grants = self.driver.held()
        self._publish_token(grants)
        told = self.command.told
        told.update(accounts.variables(grants, self.folder))
        self.command.environment.update(told)
        try:
            self.tree = self._make_tree(bool(grants))
        except (LeaseError, OSError) as error:
            self.say(f"cannot start: {getattr(error, 'strerror', None) or error}")
            self.code = UNUSABLE
            self.watching.end()
            self.loop.soon(lambda: self.event(core.GONE, "could not be started"))
            return
        try:
            self.driver.bind(self.tree.pid, self.tree.started)
            if not core.may_start(self.state, time.clock_gettime(time.CLOCK_BOOTTIME)):
                raise LeaseError("the grant is too old by now")
            # A service that begins is not to find that it does not run yet.
            self.write_down()
            self.tree.go(told)
            if self.driver.ttl is not None:
                # At once, so that the store's word is listened to from the beginning.
                self.renewals.ask()
            self.watching.begin()
        except (LeaseError, OSError) as error:
            self.say(f"cannot start: {error}")
            self.tree.kill()
        self.publish()

    def _do_warn(self, when: float) -> None:
        if self.tree:
            self.tree.warn(when - time.clock_gettime(time.CLOCK_BOOTTIME))

    def _do_pause(self, _value: None) -> None:
        self.pausing.begin()

    def _do_resume(self, _value: None) -> None:
        self.pausing.end()

    def _do_terminate(self, _value: None) -> None:
        self.watching.end()
        if self.tree:
            self.tree.terminate()

    def _do_kill(self, _value: None) -> None:
        self.watching.end()
        if self.tree:
            self.tree.kill()

    def _do_release(self, _value: None) -> None:
        self.renewals.unwatch()
        # Nobody is to find two of whom both say that they are active.
        self.write_down()
        self.store(self._give_back, self._released)

    def _give_back(self) -> None:
        """Give everything back: to the destination of a hand-over, to our successor, or to anybody. Raises LeaseError."""
        if self._handovers is not None and self._handovers.leaving:
            self._handovers.leave()
        elif self.keeping.wanted(self.asked) and not self.sick:
            self.keeping.release(self.driver)
        else:
            self.driver.release()

    def _released(self, error: LeaseError | None) -> None:
        if error is None or isinstance(error, Lost):
            self.event(core.RELEASED)
        else:
            self.say(str(error))
            self.event(core.UNRELEASED, str(error))

    def _do_leave(self, _value: None) -> None:
        self._leave_line()
        if not self._asking:
            self.event(core.REFUSED, "stopped")

    def _do_end(self, _value: None) -> None:
        if self._handovers is not None:
            self._handovers.ended()
        if self._prepared is not None:
            self._prepared.discard()
        if not self.asking:
            self.driver.free()
        if self.code == UNHEALTHY and self.driver.glance and not self._asked:
            # Whoever is started in our place at once would get it again before those in line have looked.
            self.loop.later(self.driver.glance, self._leave)
        else:
            self._leave()

    def _leave(self) -> None:
        self.loop.running = False

    def _do_arm(self, when: float | None) -> None:
        if self._dead_man is None:
            raise LeaseError("only a guard whose grants run out has a timer")
        self._dead_man.arm(when)

    def _do_renew(self, _value: None) -> None:
        self.renewals.ask()

    # -- what the kernel tells

    def _forward(self, number: int) -> None:
        if self.tree and self.state.phase in (core.ACTIVE, core.PAUSING, core.PAUSED, core.STOPPING):
            self.tree.forward(number)

    def _reap(self) -> None:
        """Collect whoever has ended: the waiter, the tree's first process, or orphans of it."""
        left = True
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                left = False
                break
            if pid == 0:
                break
            if pid == self._waiter:
                self._waiter = 0
                if self._word >= 0:
                    # What it has said counts, however it has ended then.
                    self._heard(0)
                if self._turn:
                    self.loop.soon(self._again)
                else:
                    # Killed by somebody, or the lock file was exchanged: begin anew, in a moment.
                    self.driver.leave_line()
                    self.loop.later(_AGAIN, self._again)
            elif self._prepared and pid == self._prepared.tree.pid:
                # Killed by somebody. Another one is made when it is needed.
                self._prepared.ended()
                self._prepared = None
                self.watching.end()
            elif self.tree and pid == self.tree.pid:
                self._status, why = self.tree.ending(status)
                if why:
                    self.say(f"cannot start: {why}")
                self.tree.pid = 0
            elif pid in self.children:
                from ..._supervise._embedded.children import Exit

                self.children.pop(pid)(Exit(status))
        if self.tree and self.tree.pid == 0:
            self._main_is_gone(left)

    def _main_is_gone(self, left: bool) -> None:
        """Go on once nothing is left. In a pid namespace nothing is: its init ends after everything else in it."""
        tree = self.tree
        if tree is None:
            return
        if left:
            for pid in identity.below(os.getpid()):
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    continue
            self.loop.later(_LOOK, self._reap)
            return
        # That it is not ready any more is written down with the rest: somebody waits for the leases.
        self._untold += 1
        self.watching.end()
        self._untold -= 1
        tree.close()
        self.tree = None
        self.event(core.GONE, f"wait status {self._status}")

    # -- small things

    def _schedule(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        when = core.wake(self.state)
        if when is not None:
            delay = max(when - time.clock_gettime(time.CLOCK_BOOTTIME), 0.0)
            self._timer = self.loop.later(delay, lambda: self.event(core.TICK))

    def _publish_token(self, grants: list[Grant]) -> None:
        lines = accounts.lines(grants)
        try:
            self.tokens.write(lines)
            files.replace(f"{self.folder}/token", lines)
        except (LeaseError, OSError) as error:
            self.say(f"{self.folder}/token: {getattr(error, 'strerror', None) or error}")

    def tokens_changed(self) -> None:
        """Publish after resources were added or given back while the service runs."""
        self._publish_token(self.driver.held())
        self.publish()

    def _die_as_the_service(self) -> None:
        """End with the service's exit code; with its signal, if it was one that has no meaning of its own for us."""
        if self.code or not self._status:
            return
        if os.WIFEXITED(self._status):
            self.code = os.WEXITSTATUS(self._status)
            return
        number = os.WTERMSIG(self._status)
        asked = self.state.reason in (_ASKED, HANDED_OVER) and number in (
            signal.SIGTERM,
            self.command.stop,
            signal.SIGKILL,
        )
        self.code = 0 if asked and number != signal.SIGKILL else 128 + number
