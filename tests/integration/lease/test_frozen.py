# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Guard and service frozen together for longer than their lease is good, as a container that is paused; and what hangs in the kernel."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import procs
import pytest
from faultyfs import Way
from guarded import PYTHON, STUBBORN, Guards, overlaps
from waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces, cgroups and mounting need root")


class Freezer:
    """A cgroup of the test's own, of version 2 or 1."""

    def __init__(self, version: int) -> None:
        """Make it; skips the test where there can be none."""
        self.version = version
        kind, option = ("cgroup2", "") if version == 2 else ("cgroup", "freezer")
        found = []
        for line in Path("/proc/mounts").read_text().splitlines():
            _device, point, filesystem, options = line.split()[:4]
            if filesystem == kind and (not option or option in options.split(",")):
                found.append(point)
        self.path = Path(found[0]) / f"hf-frozen-{os.getpid()}" if found else Path()
        try:
            if not found:
                raise FileNotFoundError(f"no {kind} {option}".strip())
            self.path.mkdir()
        except OSError as error:
            pytest.skip(f"no freezer of version {version}: {error}")

    @property
    def entering(self) -> tuple[str, ...]:
        """A command that enters it and becomes what follows."""
        return ("/bin/sh", "-c", f'echo $$ > {self.path}/cgroup.procs; exec "$@"', "sh")

    def freeze(self, frozen: bool) -> None:
        """Have all in it frozen, or not any more; returns when they are."""
        if self.version == 2:
            (self.path / "cgroup.freeze").write_text(f"{frozen:d}")
            wait_until(lambda: f"frozen {frozen:d}" in (self.path / "cgroup.events").read_text())
            return
        state = "FROZEN" if frozen else "THAWED"
        (self.path / "freezer.state").write_text(state)
        wait_until(lambda: (self.path / "freezer.state").read_text().strip() == state)

    def close(self) -> None:
        """Let all go on, and remove it when they are gone."""
        self.freeze(False)

        def gone() -> bool:
            try:
                self.path.rmdir()
            except OSError:
                return False
            return True

        wait_until(gone)


@pytest.fixture(params=[2, 1])
def freezer(request: pytest.FixtureRequest, remote: Guards) -> Iterator[Freezer]:
    """One of each version, in which guards are started."""
    made = Freezer(request.param)
    remote.inside = made.entering
    yield made
    made.freeze(False)
    remote.close()
    made.close()


def stubborn(guards: Guards, name: str, *words: str) -> subprocess.Popen[str]:
    history = guards.base / "history"
    history.touch()
    return guards.start(name, *words, command=(PYTHON, "-I", "-S", "-c", STUBBORN, str(history), name))


def until_beating(guards: Guards, name: str) -> None:
    wait_until(lambda: f" {name} " in (guards.base / "history").read_text())


def test_what_is_frozen_for_longer_than_its_lease_is_good_never_runs_beside_the_next(
    freezer: Freezer, remote: Guards
) -> None:
    first = stubborn(remote, "a")
    tree = remote.until("a", "active")["tree"]
    until_beating(remote, "a")
    remote.inside = ()
    stubborn(remote, "b")
    remote.until("b", "standby")
    freezer.freeze(True)
    if freezer.version == 2:
        # What is frozen there can be killed.
        assert first.wait(60) == -signal.SIGKILL
        procs.until_dead(tree)
    until_beating(remote, "b")
    token = remote.token("b")
    freezer.freeze(False)
    assert first.wait(60) == -signal.SIGKILL
    procs.until_dead(tree)
    if freezer.version == 2:
        assert overlaps(remote.base / "history") == (2, [])
        return
    # Of version 1 nothing ends before the thaw: the old one may get a word in, with a token that is stale.
    late = overlaps(remote.base / "history")[1]
    assert all(one.startswith("token 1 ") for one in late)
    assert token > 1


# -- what hangs in the kernel


@pytest.fixture
def way(remote: Guards) -> Iterator[Way]:
    """A file of a file system that may be lost; whoever reads it then cannot be killed."""
    if not os.path.exists("/dev/fuse"):
        pytest.skip("there is no FUSE")
    (remote.base / "content").write_bytes(bytes(1 << 16))
    made = Way(remote.base / "content", remote.base / "way")
    yield made
    made.close()


#: Reads a file past all caches.
READS = "import mmap, os, sys\nos.preadv(os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT), [mmap.mmap(-1, 4096)], 0)\n"


def hanging(guards: Guards, way: Way) -> tuple[subprocess.Popen[str], int]:
    """Start a service that hangs, and one that stands by; gives its guard and its process."""
    way.be("lost")
    guard = guards.start("a", "--stop-timeout=0.2", command=(PYTHON, "-I", "-S", "-c", READS, str(way.file)))
    tree = guards.until("a", "active")["tree"]
    (reader,) = wait_until(lambda: procs.children(tree))
    wait_until(lambda: procs.state(reader) == "D")
    guards.start("b")
    guards.until("b", "standby")
    return guard, reader


def test_a_lease_is_renewed_until_what_cannot_be_killed_is_gone(remote: Guards, way: Way) -> None:
    guard, reader = hanging(remote, way)
    guard.terminate()
    remote.until("a", "killing")
    until = remote.call("a", "Status")["valid_until"]
    # It would have ended by now, and somebody else have it.
    wait_until(lambda: remote.call("a", "Status")["valid_until"] > until + 3)
    assert procs.state(reader) == "D"
    assert remote.report("b")["phase"] == "standby"
    way.be("good")
    remote.until("b", "active")
    assert not procs.alive(reader)
    guard.wait(60)


def test_what_cannot_be_killed_does_nothing_more_when_its_lease_has_run_out(remote: Guards, way: Way) -> None:
    """Nobody renews for a dead guard. What hangs is doomed: it gets no further than what it has asked the kernel for."""
    guard, reader = hanging(remote, way)
    guard.kill()
    remote.until("b", "active")
    assert procs.state(reader) == "D"
    # Bit 8 is SIGKILL.
    pending = procs.status(reader)
    assert (int(pending["SigPnd"], 16) | int(pending["ShdPnd"], 16)) >> 8 & 1
    way.be("good")
    procs.until_dead(reader)
