# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Histories of leased services, and their judge.

All "hosts" of a run share one kernel, so that CLOCK_BOOTTIME is one clock for all and no search for an order is needed.
A history is a file of JSON lines, each with `at` (nanoseconds), `event`, and what belongs to it:

    beat     token, name: something of the service's tree was alive
    granted  token: the store has given the lease
    gone     token: the store has it no more, given back or run out; at is when we heard of it, never before it was so
    fault    what, whom: done by the test, for people who read the history
    healed   all faults are over
    moved    seconds, from the end of one holder's beats to the first of the next
"""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from pathlib import Path
from typing import Any

from etcds import Cluster

Event = dict[str, Any]


def boottime() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class History:
    """What happens in one run; beats are written by the services themselves, and read in at the end."""

    def __init__(self, base: Path) -> None:
        self.beats = base / "history"
        self.beats.touch()
        self.file = base / "history.jsonl"
        self._events: list[Event] = []

    def note(self, event: str, **what: Any) -> None:
        self._events.append({"at": boottime(), "event": event, **what})

    def end(self) -> list[Event]:
        """Give everything in the order of time, and leave it in the file."""
        events = list(self._events)
        for line in self.beats.read_text().splitlines():
            words = line.split()
            if len(words) == 3:
                events.append({"at": int(words[2]), "event": "beat", "token": int(words[0]), "name": words[1]})
        events.sort(key=lambda event: event["at"])
        self.file.write_text("".join(json.dumps(event) + "\n" for event in events))
        return events


def violations(events: list[Event], early: float = 0.0) -> list[str]:
    """Give everything that must not be.

    early: seconds by which the store may end a lease too early, so that its holder beats on for a moment; the next one
    must have waited for that.
    """
    spans: dict[int, list[int]] = {}
    gone: dict[int, int] = {}
    granted: list[int] = []
    taken: dict[int, int] = {}
    accepted = 0
    found = []
    for event in events:
        token = event.get("token", 0)
        if event["event"] == "beat":
            spans.setdefault(token, [event["at"], event["at"]])[1] = event["at"]
            # A store that remembers the greatest token would refuse this one: somebody writes who is no holder any more.
            if token < accepted:
                found.append(f"token {token} wrote at {event['at']} after {accepted} had")
            accepted = max(accepted, token)
        elif event["event"] == "granted":
            if granted and token <= granted[-1]:
                found.append(f"token {token} was granted after {granted[-1]}")
            granted.append(token)
            taken[token] = event["at"]
        elif event["event"] == "gone":
            gone[token] = event["at"]
    ordered = sorted(spans)
    for token, later in zip(ordered, ordered[1:]):
        if spans[token][1] >= spans[later][0]:
            found.append(f"token {token} beat until {spans[token][1]}, token {later} from {spans[later][0]} on")
    for token, end in gone.items():
        if token in spans and spans[token][1] > end + early * 1e9:
            found.append(f"token {token} beat at {spans[token][1]}, and the store had it no more at {end}")
    for token, later in zip(granted, granted[1:]):
        if token in spans and spans[token][1] > taken[later]:
            found.append(f"token {token} beat at {spans[token][1]}, after {later} was granted at {taken[later]}")
    found.extend(f"token {token} beats and was not granted" for token in spans if granted and token not in granted)
    return found[:20]


class Witness:
    """Hears from etcd itself who is granted the resource and who has it no more."""

    def __init__(self, cluster: Cluster, prefix: str, resource: str, history: History) -> None:
        self._cluster = cluster
        self._range = [base64.b64encode(f"{prefix}/{resource}/holder{end}".encode()).decode() for end in ("/", "0")]
        self._history = history
        self._revision = 1
        self._tokens: dict[str, int] = {}
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended = True
        self._thread.join(10)

    def _run(self) -> None:
        at = 0
        while not self._ended:
            member = self._cluster.members[at % len(self._cluster.members)]
            at += 1
            try:
                self._listen(member.url.rpartition("/")[2])
            except (OSError, ValueError, http.client.HTTPException):
                time.sleep(0.05)

    def _listen(self, address: str) -> None:
        connection = http.client.HTTPConnection(address, timeout=1)
        try:
            request = {"key": self._range[0], "range_end": self._range[1], "start_revision": str(self._revision)}
            connection.request("POST", "/v3/watch", json.dumps({"create_request": request}))
            answer = connection.getresponse()
            while not self._ended:
                line = answer.readline()
                if not line:
                    return
                for event in json.loads(line)["result"].get("events", ()):
                    self._heard(event)
        finally:
            connection.close()

    def _heard(self, event: dict[str, Any]) -> None:
        one = event["kv"]
        self._revision = int(one["mod_revision"]) + 1
        if event.get("type") == "DELETE":
            self._history.note("gone", token=self._tokens.pop(one["key"], 0))
        elif one["version"] == "1":
            token = json.loads(base64.b64decode(one["value"]))["token"]
            self._tokens[one["key"]] = token
            self._history.note("granted", token=token)
