# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lease for whoever has a name: got, kept, given back and broken by short programs. PRIVATE to the collection.

A task of a play ends, and with it everything that it had open. So the lease is held by a process of the runtime that
stays behind (_guard/holder.py), and the next task finds that again by owner, resource and store.
"""

from __future__ import annotations

import json
import os
import socket
import syslog
import time

from .._runtime import detached
from . import naming, places
from .drivers import make
from .handle import GuardGone, Handle, living
from .interface import EXCLUSIVE_MODE, RESOURCE_NAME, Busy, DriverRefused, LeaseError
from .modes import disk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .interface import Driver, Holder

#: Seconds that a holder has for its start and for one question to its store, on top of the waiting.
PATIENCE = 30.0
#: How often the folder of a holder is made: holders tidy away those of dead ones.
FOLDER_TRIES = 10
#: Seconds that somebody may hold it without saying so again, or wait for it.
LONGEST = 31 * 86400.0
#: Seconds that a holder has for its end.
_ENDING = 15.0


class HeldByOther(LeaseError):
    """Somebody else has it. holders: who, as the store tells."""

    def __init__(self, text: str, holders: list[dict[str, Any]]) -> None:
        self.holders = holders
        super().__init__(text)


class Mutex:
    """One resource of one store, for one owner. program: the argv of the runtime. base: where holders have their folders.

    resource: a name, or disk:PATH. Making one raises LeaseError if there is no such disk.
    """

    def __init__(
        self,
        resource: str,
        owner: str,
        driver: str,
        parameters: Mapping[str, Any],
        program: list[str],
        base: str | None = None,
    ) -> None:
        self.resource = naming.known_as(resource)
        self._asked = resource
        self.owner = owner
        self.driver = driver
        self.parameters = dict(parameters)
        self.program = program
        self.base = base or places.holders()

    @property
    def _folder(self) -> str:
        return places.folder_of(self.driver, self.parameters, self.resource, self.owner)

    def find(self) -> dict[str, Any] | None:
        """Give the status of our owner's holder on this host, None if there is none. Raises LeaseError."""
        try:
            with Handle.attach(self._folder, self.base) as handle:
                return handle.inquire()
        except GuardGone:
            return None

    def hold(
        self, seconds: float, wait: float, mode: str = EXCLUSIVE_MODE, safety: str = "standard"
    ) -> tuple[bool, dict[str, Any]]:
        """Get it for *seconds*, waiting *wait* seconds at most; give whether that is new, and what the holder tells.

        If our owner has it already, its end is put off. Raises HeldByOther, LeaseError: it is not held, or held as
        before.
        """
        found = self.find()
        if found is not None and found["phase"] == "active":
            held = found["resources"][0]["mode"] if found["resources"] else mode
            if held != mode:
                raise LeaseError(f"{self.resource}: {self.owner} has it as {held}; release it before it is {mode}")
            with Handle.attach(self._folder, self.base) as handle:
                return False, {**found, **handle.call("Extend", ttl=seconds)}
        if found is not None and found["phase"] == "standby":
            raise HeldByOther(f"{self.resource}: {self.owner} waits for it already. {self._cure()}", self.others())
        told = self._start({"mode": mode, "seconds": seconds, "wait": wait, "safety": safety})
        if "granted" in told:
            return True, dict(told["granted"])
        if told.get("error") == "busy":
            raise HeldByOther(self._who(wait, told), self.others())
        raise LeaseError(f"{self.resource}: {told.get('message')}")

    def release(self) -> bool:
        """Give it back; say whether our owner had it. Raises LeaseError: it counts as held."""
        try:
            with Handle.attach(self._folder, self.base) as handle:
                handle.shutdown(_ENDING)
        except GuardGone:
            return False
        return True

    def break_(self, reason: str) -> tuple[bool, int]:
        """Take it from whoever holds it on this host for an owner, and make his token stale.

        Gives whether somebody had it, and the token that was drawn. It is logged. Raises LeaseError: the holder is a
        service's guard, or on another host.
        """
        broken = []
        for record in self._here():
            with Handle.attach(record["folder"], self.base) as handle:
                handle.call("Break", reason=reason)
                handle.shutdown(_ENDING)
            broken.append(str(record["owner"]))
            self._log(record, reason)
        self._see_free()
        return bool(broken), self._draw(f"broken: {reason}"[:200]) if broken else 0

    def would_break(self) -> bool:
        """Say whether `break_` would take it from somebody. Raises HeldByOther, as that would."""
        if self._here():
            return True
        self._see_free()
        return False

    def _here(self) -> list[dict[str, Any]]:
        """Give the holders of this host that have it for an owner."""
        ours = [one for one in living(self.base) if one["name"] == self.resource and one.get("store") == self._store()]
        return [one for one in ours if one["phase"] != "standby"]

    def _see_free(self) -> None:
        """See that nobody has it any more. Who is known to be dead is in nobody's way. Raises HeldByOther."""
        left = [one for one in self.others() if one["alive"] is not False]
        if left:
            raise HeldByOther(
                f"{self.resource}: {sentence(left[0])}, and only what an owner has on this host is broken. "
                "A service gives it back when it is stopped; a holder of another host is broken there; what a host had that is "
                "gone is free when its time is over",
                left,
            )

    def others(self) -> list[dict[str, Any]]:
        """Tell who holds it. [] also if the store cannot be asked."""
        try:
            return [told(holder) for holder in self._driver("lease_info").owners(self.resource)]
        except LeaseError:
            return []

    def _store(self) -> list[str]:
        return [self.driver, places.store_of(self.parameters)]

    def _driver(self, tenant: str) -> Driver:
        return make(self.driver, tenant, self.parameters)

    def _draw(self, tenant: str) -> int:
        """Draw a number, so that the one that was taken away is not the greatest any more. 0: the next owner drew it."""
        driver = self._driver(tenant)
        try:
            driver.register(self.resource, EXCLUSIVE_MODE)
            token = driver.acquire()[0].token
            driver.release()
            return token
        except Busy:
            return 0
        finally:
            driver.free()

    def _log(self, record: dict[str, Any], reason: str) -> None:
        tokens = ", ".join(str(one["token"]) for one in record["resources"])
        text = (
            f"lease {self.resource} (token {tokens}) was taken from {record['owner']} by user {os.getuid()}: {reason}"
        )
        syslog.openlog("holdfast", 0, syslog.LOG_AUTH)
        syslog.syslog(syslog.LOG_WARNING, text.encode("unicode_escape").decode())

    def _start(self, request: dict[str, Any]) -> dict[str, Any]:
        """Start a holder and give its answer. It gives up by itself if we end before that."""
        log = os.path.join(self.base, self._folder, "log")
        request.update(resource=self._asked, owner=self.owner, driver=self.driver, parameters=self.parameters)
        request.update(state=self.base, note={"host": os.uname().nodename})
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._detach(log, theirs.fileno())
            theirs.close()
            ours.sendall(json.dumps(request).encode() + b"\n")
            answer = _line(ours, PATIENCE + request["wait"])
        if answer:
            return answer
        return {"error": "refused", "message": f"its holder has ended or does not answer: {_tail(log)}"}

    def _detach(self, log: str, given: int) -> None:
        """Start the program of the holder in its folder, which another holder may just be tidying away."""
        for left in reversed(range(FOLDER_TRIES)):
            os.makedirs(os.path.dirname(log), 0o755, exist_ok=True)
            try:
                detached.start([*self.program, "hold", "--request"], log, given)
                return
            except OSError as error:
                if left and isinstance(error, FileNotFoundError) and error.filename == log:
                    continue
                advice = "the lease is held by a program of the runtime, which the role bootstrap or the module runtime installs"
                raise LeaseError(f"{error.filename}: {error.strerror}; {advice}") from None

    def _who(self, wait: float, answer: dict[str, Any]) -> str:
        found = self.others()
        text = "; ".join(map(sentence, found)) or str(answer.get("message"))
        return f"{self.resource}: not got within {wait:g} s: {text}. {self._cure()}"

    def _cure(self) -> str:
        return "Wait longer (wait), have it released by its owner, or take it away with state broken and a reason"


def told(holder: Holder) -> dict[str, Any]:
    """Give what is known of a holder, for people and results. until: unix time at which it ends by itself, if it does."""
    until = holder.note.get("until")
    return {
        "name": holder.name,
        "owner": str(holder.note.get("owner") or holder.name),
        "host": str(holder.note.get("host") or ""),
        "pid": holder.pid,
        "mode": holder.mode,
        "token": holder.token,
        "since": holder.since,
        "until": until if isinstance(until, (int, float)) else None,
        "alive": holder.alive,
    }


def sentence(holder: dict[str, Any]) -> str:
    """Say who has it, since when and until when."""
    host = f" on {holder['host']}" if holder["host"] else ""
    process = f"process {holder['pid']}, " if holder["pid"] else ""
    since = f" since {moment(holder['since'])}" if holder["since"] else ""
    text = f"{holder['owner']}{host} has it ({process}token {holder['token']}){since}"
    return text + (f", until {moment(holder['until'])} at the latest" if holder["until"] else "")


def moment(when: float) -> str:
    """Give a unix time as people read it, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(when))


def check(name: str, owner: str, seconds: float, wait: float) -> None:
    """Raise DriverRefused for what can't be a mutex, before anything is started."""
    if not disk(name) and not RESOURCE_NAME(name):
        raise DriverRefused(f"name: {name!r}: letters, digits and _.@:+-, 64 at most")
    if not owner or len(owner) > 200 or not owner.isprintable():
        raise DriverRefused("owner: 1 to 200 printable characters that tell this play from every other")
    if not 0 < seconds <= LONGEST:
        raise DriverRefused(f"ttl: {seconds:g} s is not between 0 and {LONGEST:g}")
    if not 0 <= wait <= LONGEST:
        raise DriverRefused(f"wait: {wait:g} s is not between 0 and {LONGEST:g}")


def _line(connection: socket.socket, seconds: float) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    data = b""
    while not data.endswith(b"\n"):
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            piece = connection.recv(65536)
        except OSError:
            return {}
        if not piece:
            return {}
        data += piece
    return dict(json.loads(data))


def _tail(path: str) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - 500, 0))
            return file.read().decode("utf-8", "replace").strip()
    except OSError as error:
        return str(error.strerror)
