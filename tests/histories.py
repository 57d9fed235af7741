# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Histories of leased services, and their judge.

All "hosts" of a run share one kernel, so that CLOCK_BOOTTIME is one clock for all and no search for an order is needed.
A history is a file of JSON lines, each with `at` (nanoseconds), `event`, and what belongs to it:

    beat     token, name: something of the service's tree was alive
    granted  token: the store has given the lease
    gone     token, released: the store has it no more, given back or run out; at is when we heard of it, never before it was so
    good     token, until: the latest time that the store has let its holder go on to; a later event of the token replaces it
    stored, refused   token: what became of something that was sent with this token to a store that refuses old ones, see fenced.py
    paused   token, until: for all of this time its guard said that every process of the tree stood still
    fault    what, whom: done by the test, for people who read the history
    healed   all faults are over

What the store says is told by a witness, see witnesses.py.
"""

from __future__ import annotations

import bisect
import collections
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

Event = dict[str, Any]


#: Nanoseconds without a beat that are told in a history.
SILENCE = 500_000_000
#: Seconds after which those who listen have heard what was.
HEARING = 0.2


class Listening(Protocol):
    """A thread that notes what it hears."""

    def end(self) -> None:
        """Hear no more."""


def boottime() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class History:
    """What happens in one run; beats are written by the services themselves, and read in at the end."""

    def __init__(self, base: Path) -> None:
        self.beats = base / "history"
        self.beats.touch()
        self.file = base / "history.jsonl"
        self._events: list[Event] = []
        self._until = 2**63

    def note(self, event: str, **what: Any) -> None:
        self.note_at(boottime(), event, **what)

    def note_at(self, at: int, event: str, **what: Any) -> None:
        self._events.append({"at": at, "event": event, **what})

    def last(self, count: int) -> list[Event]:
        """Give what was noted last, for people."""
        return self._events[-count:]

    def end(self, *listening: Listening) -> list[Event]:
        """Give everything up to now in the order of time, and leave it in the file. listening: who ends with it.

        Of beats that follow each other with the same token, the first and the last one, those around a silence, and those
        that should not be because the tree stood still: the others say nothing more.
        """
        # Who begins after this has not been heard of by all who listen.
        self._until = min(self._until, boottime())
        time.sleep(HEARING)
        for one in listening:
            one.end()
        events = list(self._events)
        events.extend({"at": at, "event": "beat", "token": token, "name": name} for at, token, name in self._beats())
        events.sort(key=lambda event: event["at"])
        self.file.write_text("".join(json.dumps(event) + "\n" for event in events))
        return events

    def _beats(self) -> list[tuple[int, int, str]]:
        found = []
        with self.beats.open() as file:
            for line in file:
                words = line.split()
                if len(words) == 3 and int(words[2]) <= self._until:
                    found.append((int(words[2]), int(words[0]), words[1]))
        found.sort()
        still = [(event["token"], event["at"], event["until"]) for event in self._events if event["event"] == "paused"]
        last = len(found) - 1
        return [
            one
            for at, one in enumerate(found)
            if at in (0, last)
            or any(one[1:] != near[1:] or abs(one[0] - near[0]) > SILENCE for near in (found[at - 1], found[at + 1]))
            or any(token == one[1] and begin < one[0] < end for token, begin, end in still)
        ]


def violations(events: list[Event], early: float = 0.0, shared: frozenset[str] = frozenset()) -> list[str]:
    """Give everything that must not be.

    early: seconds by which the store may end a lease too early, so that its holder beats on for a moment; the next one
    must have waited for that. What was given back by its holder was so after its last beat, whatever *early* says.
    shared: who has asked for it shared. Two of them may have it at a time, and nobody else beside them.
    """
    spans: dict[int, list[int]] = {}
    gone: dict[int, int] = {}
    good: dict[int, int] = {}
    released = set()
    granted: dict[int, int] = {}
    still: dict[int, int] = {}
    sharing: set[int] = set()
    stale: set[int] = set()
    latest = 0
    # The greatest number that has written, of whom nobody may be beside, and of all; and that of the store that refuses.
    alone = accepted = fence = 0
    found = []
    for event in events:
        token = event.get("token", 0)
        if event["event"] == "paused":
            still[token] = event["until"]
        elif event["event"] == "beat":
            if event["at"] < still.get(token, 0):
                found.append(
                    f"token {token} wrote at {event['at']}, and its guard said until {still[token]} that it stood still"
                )
            spans.setdefault(token, [event["at"], event["at"]])[1] = event["at"]
            # A store that remembers the greatest token would refuse this one: somebody writes who is no holder any more.
            greatest = alone if event.get("name") in shared else accepted
            if token < greatest and token not in stale:
                stale.add(token)
                found.append(f"token {token} wrote at {event['at']} after {greatest} had")
            accepted = max(accepted, token)
            if event.get("name") in shared:
                sharing.add(token)
            else:
                alone = max(alone, token)
        elif event["event"] in ("stored", "refused"):
            if (token < fence) is (event["event"] == "stored"):
                found.append(f"what was sent with token {token} was {event['event']}, and {fence} had written")
            fence = max(fence, token)
        elif event["event"] == "granted":
            if token <= latest:
                found.append(f"token {token} was granted after {latest}")
            latest = max(latest, token)
            granted[token] = event["at"]
        elif event["event"] == "good":
            good[token] = event["until"]
        elif event["event"] == "gone":
            gone[token] = event["at"]
            if event.get("released"):
                released.add(token)
    exclusive = sorted(set(spans) - sharing)
    for token, later in _following(spans, sharing, exclusive):
        if spans[token][1] >= spans[later][0]:
            found.append(f"token {token} beat until {spans[token][1]}, token {later} from {spans[later][0]} on")
    for token, end in gone.items():
        if token in spans and spans[token][1] > end + (0 if token in released else early * 1e9):
            found.append(f"token {token} beat at {spans[token][1]}, and the store had it no more at {end}")
    for token, end in good.items():
        if token in spans and spans[token][1] > end:
            found.append(f"token {token} beat at {spans[token][1]}, and was good until {end}")
    for token, later in _following({**granted, **spans}, sharing, exclusive):
        if token in spans and later in granted and spans[token][1] > granted[later]:
            found.append(f"token {token} beat at {spans[token][1]}, after {later} was granted at {granted[later]}")
    found.extend(f"token {token} beats and was not granted" for token in spans if granted and token not in granted)
    return found[:20]


def _following(tokens: Iterable[int], sharing: set[int], exclusive: list[int]) -> Iterator[tuple[int, int]]:
    """Give each token with the next one that must not be beside it; of who never wrote nobody knows whether he shares."""
    ordered = sorted(tokens)
    for token, later in zip(ordered, ordered[1:]):
        if token not in sharing:
            yield token, later
        elif exclusive and token < exclusive[-1]:
            yield token, exclusive[bisect.bisect(exclusive, token)]


class Pauses:
    """Looks again and again at what guards say of themselves, and notes for how long each was seen to be paused.

    reports: gives the reports of all guards as they are now.
    """

    def __init__(self, reports: Callable[[], Iterable[dict[str, Any]]], history: History) -> None:
        self._reports = reports
        self._history = history
        self._seen: dict[tuple[int, int], tuple[int, int]] = {}
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended = True
        self._thread.join(10)

    def _run(self) -> None:
        while not self._ended:
            before = boottime()
            paused = {
                (report["pid"], report["resources"][0]["token"])
                for report in self._reports()
                if report.get("phase") == "paused" and report["resources"]
            }
            after = boottime()
            for one in set(self._seen) - paused:
                self._note(one)
            for one in paused:
                # Still paused when it was read, at the earliest right before; so for the first time at the latest now.
                self._seen[one] = (self._seen[one][0] if one in self._seen else after, before)
            time.sleep(0.01)
        for one in list(self._seen):
            self._note(one)

    def _note(self, one: tuple[int, int]) -> None:
        begin, end = self._seen.pop(one)
        if end > begin:
            self._history.note_at(begin, "paused", token=one[1], until=end)


def report(store: str, events: list[Event], found: list[str], **known: Any) -> None:
    """Write what a run has shown, and its history beside it, where HOLDFAST_CHAOS_REPORT (a path that ends in .json) says so.

    known: what only the run itself knows, beside figures and the number of faults of each kind.
    """
    kinds = collections.Counter(event["what"] for event in events if event["event"] == "fault")
    file = write_report(store, kinds, found, **known, **figures(events))
    if file is not None:
        file.with_suffix(".jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))


def write_report(store: str, kinds: collections.Counter[str], found: list[str], **known: Any) -> Path | None:
    """Write figures where HOLDFAST_CHAOS_REPORT says so, and give the file. kinds: how often which fault was made."""
    path = os.environ.get("HOLDFAST_CHAOS_REPORT")
    if not path:
        return None
    told = {**known, "faults": sum(kinds.values()), "kinds": dict(sorted(kinds.items())), "violations": found}
    file = Path(path).with_suffix(f".{store}.json")
    file.write_text(json.dumps(told, indent=2) + "\n")
    return file


def figures(events: list[Event]) -> dict[str, Any]:
    """Give what a report says of a history: tenures, hand-overs in seconds, and how long somebody beat."""
    spans: dict[int, list[int]] = {}
    for event in events:
        if event["event"] == "beat":
            spans.setdefault(event["token"], [event["at"], event["at"]])[1] = event["at"]
    ordered = sorted(spans.values())
    gaps = sorted((later[0] - one[1]) / 1e9 for one, later in zip(ordered, ordered[1:]))
    found: dict[str, Any] = {"tenures": len(spans)}
    pauses = sorted((event["until"] - event["at"]) / 1e9 for event in events if event["event"] == "paused")
    if pauses:
        ends = {event["token"]: event["until"] for event in events if event["event"] == "paused"}
        gone_on = sum(1 for token, until in ends.items() if token in spans and spans[token][1] > until)
        found.update(pauses=len(pauses), paused_max=round(pauses[-1], 3), paused_and_gone_on=gone_on)
    answers = collections.Counter(event["event"] for event in events if event["event"] in ("stored", "refused"))
    if answers:
        found.update(stored=answers["stored"], refused=answers["refused"])
    if gaps:
        found.update({f"handover_p{part}": round(gaps[len(gaps) * part // 101], 3) for part in (50, 90, 99)})
        found["handover_max"] = round(gaps[-1], 3)
        whole = ordered[-1][1] - ordered[0][0]
        found["held"] = round(sum(one[1] - one[0] for one in ordered) / whole, 3)
    return found
