# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside an emulated machine: an NFS server, two hosts that are its clients, and a leased service on both.

What was seen is printed as JSON, and not judged: test_nfs.py does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from nfs_world import (
    LEASES,
    LOCKABLE,
    PAYLOAD,
    PROBE,
    Host,
    end_grace,
    hands,
    log,
    nfs_open,
    renewals,
    serve,
    start_server,
    stop_server,
    until,
    whole,
)

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import moving

#: Seconds. The least that the server takes is 10; an emulated machine beside other tests may be too slow for that.
LEASE_TIME = 20


class Run:
    """The steps. Each gives what it has seen."""

    def __init__(self) -> None:
        self.a, self.b = serve("ab", LEASE_TIME)

    def looked_at(self) -> dict[str, Any]:
        """What the driver says of the mount, and of others."""
        probe = ("/usr/bin/python3", "-c", PROBE, LEASES)
        seen = {"not mounted": self.a.run(*probe)}
        self.a.mount("vers=4.0")
        seen["vers=4.0"] = self.a.run(*probe)
        self.a.run("umount", "/mnt")
        for host in (self.a, self.b):
            host.mount("vers=4.2" if host is self.b else "vers=4.1")
        seen["vers=4.1"] = self.a.run(*probe)
        return seen

    def proved(self) -> dict[str, Any]:
        """What the role's tasks give, by host, in their order; and what the driver says afterwards."""
        results = []
        for task in json.loads((PAYLOAD / "tasks.json").read_text()):
            results.append(
                {host.name: host.do(task["module"], task["options"][host.name]) for host in (self.a, self.b)}
            )
        return {"results": results, "probe": self.a.run("/usr/bin/python3", "-c", PROBE, LEASES)}

    def mutexed(self) -> dict[str, Any]:
        """Plays on two hosts, with one mutex."""
        common = json.loads((PAYLOAD / "mutex.json").read_text())

        def ask(host: Host, state: str, **more: Any) -> dict[str, Any]:
            return host.do("lease", {**common, "state": state, **more})

        seen = [
            ask(self.a, "held", owner="run 1"),
            ask(self.b, "held", owner="run 2"),
            ask(self.a, "held", owner="run 1"),
            ask(self.b, "broken", reason="not one of ours"),
            ask(self.a, "released", owner="run 1"),
            ask(self.b, "held", owner="run 2"),
            ask(self.b, "broken", reason="its play was killed"),
            ask(self.a, "held", owner="run 3"),
            ask(self.a, "released", owner="run 3"),
            ask(self.a, "released", owner="run 3"),
        ]
        kept = ("failed", "msg", "holders", "changed", "token")
        return {"seen": [{key: one.get(key) for key in kept} for one in seen]}

    def contended(self) -> dict[str, Any]:
        """The first one has it, the second one stands by."""
        self.a.keep_running()
        until(self.a.runs, "the service on a")
        self.b.keep_running()
        until(self.b.waits, "b in line")
        until(lambda: hands() >= 2, "the processes that have the files open")
        time.sleep(1)
        return {"a": self.a.phase(), "b": self.b.phase(), "b beats": len(self.b.beats()), "nfs open": nfs_open(self.a)}

    def stopped(self) -> dict[str, Any]:
        """The holder is stopped in order."""
        with self.a.kept():
            os.kill(self.a.guard(), signal.SIGTERM)
            until(self.b.runs, "the service on b")
        return self._moved(self.a, self.b)

    def guard_killed(self) -> dict[str, Any]:
        """The guard of the holder is killed: what it had is given back when its tree is gone."""
        until(self.a.waits, "a in line")
        with self.b.kept():
            os.kill(self.b.guard(), signal.SIGKILL)
            until(self.a.runs, "the service on a")
        return self._moved(self.b, self.a)

    def partitioned(self) -> dict[str, Any]:
        """The holder is cut off."""
        until(self.b.waits, "b in line")
        self._settle(self.a)
        guard, token = self.a.guard(), self.a.token()
        self.a.cut()
        # To cut a cable takes a slow machine seconds, in which a heartbeat may still get through.
        cut = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        until(self.b.runs, "the service on b")
        until(lambda: self.a.guard() != guard, "the end of the guard on a")
        self.old = (guard, token)
        return {**self._moved(self.a, self.b), "first ran on for": round((self.a.last() - cut) / 1e9, 2)}

    def healed(self) -> dict[str, Any]:
        """The first one is there again, and is one of those who wait."""
        self.a.heal()
        until(lambda: self.a.waits() and self.a.guard() not in (0, self.old[0]), "a in line")
        self._see_renewals(self.b, 2)
        return {"a": self.a.phase(), "b runs": self.b.runs(), "a beats": self.old[1] != self.a.beats()[-1][1]}

    def server_restarted(self) -> dict[str, Any]:
        """The server starts anew; in its time of grace it only gives back what its clients had."""
        guard, token = self.b.guard(), self.b.token()
        known = len(os.listdir("/var/lib/nfs/v4recovery"))
        stop_server()
        start_server()
        self._see_renewals(self.b, 2)
        same = (guard, token) == (self.b.guard(), self.b.token())
        return {"same": same, "b runs": self.b.runs(), "a": self.a.phase(), "clients known": known}

    def forgotten(self) -> dict[str, Any]:
        """The server forgets who had what while the holder is cut off, and gives the lock to the other one at once."""
        command = self.a.here("/usr/bin/python3", "-c", LOCKABLE, f"{LEASES}/db.lock")
        stranger = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert stranger.stdout is not None
        stranger.stdout.readline()
        self._settle(self.b)
        guard = self.b.guard()
        self.b.cut()
        cut = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        stop_server()
        for one in Path("/var/lib/nfs/v4recovery").iterdir():
            one.rmdir()
        start_server()
        end_grace()
        free = int(stranger.stdout.readline())
        until(self.a.runs, "the service on a")
        until(lambda: self.b.guard() != guard, "the end of the guard on b")
        self.b.heal()
        return {
            "free after": round((free - cut) / 1e9, 2),
            "first ran on for": round((self.b.last() - cut) / 1e9, 2),
            **self._moved(self.b, self.a),
        }

    def handed_over(self) -> dict[str, Any]:
        """The holder's lease is moved to the other host, which stands by; nobody else may have it in between."""
        until(self.b.waits, "b in line")
        self._settle(self.a)
        source, target = (moving.Place("service", f"/run/{host.name}") for host in (self.a, self.b))
        before = self.a.token()
        moved = moving.hand_over(source, target, "moved", 120, 120)
        until(self.b.runs, "the service on b")
        until(self.a.waits, "a in line")
        return {**self._moved(self.a, self.b), "before": before, "tokens": moved}

    def came_first(self) -> dict[str, Any]:
        """The host that comes after the other one has the lease; the other one comes to stand in line, and gets it back."""
        self.a.told("--parameter=fail_back=1")
        self.b.told("--parameter=preference=1")
        with self.b.kept():
            os.kill(self.b.guard(), signal.SIGTERM)
            until(self.a.runs, "the service on a")
        until(self.b.waits, "b in line")
        with self.a.kept():
            os.kill(self.a.guard(), signal.SIGTERM)
            until(self.b.runs, "the service on b")
        after = self.b.token()
        until(lambda: self.a.token() > after and self.a.runs(), "the service on a, which comes first")
        until(self.b.waits, "b in line again")
        return {**self._moved(self.b, self.a), "after": after, "b": Path("/run/b.log").read_text()[-2500:]}

    def ended(self) -> dict[str, Any]:
        """Everything that was beaten, for a judge."""
        for host in (self.a, self.b):
            Path(f"/run/{host.name}/down").touch()
        return {"beats": {host.name: beats_of(host) for host in (self.a, self.b)}, "said": log()}

    def _moved(self, source: Host, target: Host) -> dict[str, Any]:
        end = source.last()
        begin = next(at for at, token in target.beats() if token == target.token())
        return {"from": source.name, "gap": round((begin - end) / 1e9, 2), "token": target.token()}

    def _see_renewals(self, host: Host, count: int) -> None:
        """Wait for some renewals of the guard."""
        before = renewals(host)
        until(lambda: renewals(host) >= before + count, f"{count} renewals on {host.name}")

    def _settle(self, host: Host) -> None:
        """Wait for the next renewal, so that the whole time of a grant is ahead."""
        self._see_renewals(host, 1)


def beats_of(host: Host) -> list[list[int]]:
    """Give token, first and last time of each tenure."""
    found: list[list[int]] = []
    for at, token in host.beats():
        if not found or found[-1][0] != token:
            found.append([token, at, at])
        found[-1][2] = at
    return found


def main() -> None:
    began = Run()
    for step in (
        began.looked_at,
        began.proved,
        began.mutexed,
        began.contended,
        began.stopped,
        began.guard_killed,
        began.partitioned,
        began.healed,
        began.server_restarted,
        began.forgotten,
        began.handed_over,
        began.came_first,
        began.ended,
    ):
        start = time.monotonic()
        seen = step()
        seconds = round(time.monotonic() - start, 1)
        print(json.dumps({"step": step.__name__, "seconds": seconds, **seen}), flush=True)


if __name__ == "__main__":
    whole(main)
