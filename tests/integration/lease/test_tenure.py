# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a definition has run around its service: all of it inside of the tenure, whoever supervises the guard."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import procs
import pytest
from leased import add_guarded, add_leased, phase, report
from supervised import Scan, make_base
from waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root")

# Writes what it is told, in one line, where all hooks of a test write.
TELL = """\
#!/bin/sh
echo "$1 $2 $HOLDFAST_POINT $HOLDFAST_SERVICE ${{HOLDFAST_TOKEN-none}} ${{HOLDFAST_EXIT_CODE-}}" >> {story}
"""


class Place:
    """A scan directory with its supervisor, a directory of leases, and hooks that tell a story."""

    def __init__(self, runtime: Path) -> None:
        self.base = make_base()
        self.scan = Scan(runtime, make_base())
        self.leases = self.base / "leases"
        self.hooks = self.base / "hooks.d"
        self.hooks.mkdir()
        self.story = self.base / "story"
        self.story.touch()
        self.story.chmod(0o666)

    def hook(self, point: str, name: str, text: str = TELL, mode: int = 0o755) -> Path:
        path = self.hooks / point / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.format(story=self.story))
        path.chmod(mode)
        return path

    def all_hooks(self) -> None:
        for point in ("before_start", "after_start", "before_stop", "after_stop"):
            self.hook(point, "tell")

    def told(self) -> list[str]:
        return self.story.read_text().splitlines()

    def points(self) -> list[str]:
        return [line.split()[0] for line in self.told()]

    def saying(self, word: str) -> list[str]:
        """A command that writes a word into the story, and stays."""
        return ["/bin/sh", "-c", f"echo {word} >> {self.story}; exec sleep 100000"]

    def gone(self) -> Callable[[], bool]:
        return lambda: not report(self.scan)

    def close(self) -> None:
        self.scan.close()
        shutil.rmtree(self.scan.base)
        shutil.rmtree(self.base)


@pytest.fixture
def place(runtime: Path) -> Iterator[Place]:
    place = Place(runtime)
    place.scan.start()
    yield place
    place.close()


def test_hooks_run_around_the_service_in_their_order(place: Place) -> None:
    place.all_hooks()
    place.hook("before_start", "00-first", "#!/bin/sh\necho first >> {story}\n")
    add_guarded(place.scan, hooks={"directory": str(place.hooks)}, command=place.saying("service"))
    wait_until(lambda: "after_start" in place.points())
    place.scan.control("billing", "stop")
    place.scan.until("billing", "down")
    assert place.points() == ["first", "before_start", "service", "after_start", "before_stop", "after_stop"]
    assert place.told()[1].split() == ["before_start", "billing", "before_start", "billing", "none"]
    assert place.told()[-1].split()[-1] == "-1"


def test_hooks_of_a_leased_service_run_while_the_lease_is_held(place: Place) -> None:
    place.all_hooks()
    place.hook("after_stop", "zz-wait", "#!/bin/sh\nwhile [ -e {story}.hold ]; do sleep 0.01; done\n")
    hold = Path(f"{place.story}.hold")
    hold.touch()
    add_leased(place.scan, place.leases, hooks={"directory": str(place.hooks)})
    wait_until(lambda: "after_start" in place.points())
    assert {line.split()[4] for line in place.told()} == {"1"}
    place.scan.control("billing", "stop")
    wait_until(lambda: "after_stop" in place.points())
    # The service is gone, and nobody else may have what it held before the last hook is done.
    assert phase(place.scan)() == "stopping"
    assert report(place.scan)["resources"] == [{"name": "billing", "mode": "exclusive", "token": 1}]
    hold.unlink()
    place.scan.until("billing", "down")
    assert place.scan.service("billing")["exit"]["code"] == 0


def test_a_hook_has_no_environment_but_what_is_documented(place: Place) -> None:
    place.hook("before_start", "env", "#!/bin/sh\nenv | sort > {story}\n")
    add_guarded(
        place.scan,
        hooks={"directory": str(place.hooks)},
        environment={"LD_PRELOAD": "/nowhere.so", "COLOUR": "blue"},
        secret_environment={"PASSWORD": "x"},
    )
    wait_until(lambda: report(place.scan).get("ready") is True)
    names = {line.partition("=")[0] for line in place.told()}
    assert names - {"PWD", "OLDPWD", "SHLVL", "_"} == {
        *("HOLDFAST_HOOK_STATE", "HOLDFAST_POINT", "HOLDFAST_SERVICE", "HOME", "LANG", "PATH"),
    }


def test_hooks_of_one_life_share_a_folder(place: Place) -> None:
    place.hook(
        "before_start",
        "keep",
        '#!/bin/sh\nls "$HOLDFAST_HOOK_STATE" >> {story}; echo kept > "$HOLDFAST_HOOK_STATE/x"\n',
    )
    place.hook("after_stop", "tell", '#!/bin/sh\ncat "$HOLDFAST_HOOK_STATE/x" >> {story}\n')
    add_guarded(place.scan, hooks={"directory": str(place.hooks)})
    wait_until(lambda: report(place.scan).get("ready") is True)
    place.scan.control("billing", "restart")
    wait_until(lambda: place.told() == ["kept"] and report(place.scan).get("ready") is True)
    place.scan.control("billing", "stop")
    place.scan.until("billing", "down")
    # The second life began with an empty folder.
    assert place.told() == ["kept", "kept"]


def test_a_hook_that_fails_does_not_stop_the_others_unless_it_says_so(place: Place) -> None:
    place.hook("before_start", "10-fails", "#!/bin/sh\necho the disk is slow >&2; exit 1\n")
    place.hook("before_start", "20-tell")
    add_guarded(place.scan, hooks={"directory": str(place.hooks)}, command=place.saying("service"))
    wait_until(lambda: place.points() == ["before_start", "service"])


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("#!/bin/sh\necho no route to the database >&2; exit 2\n", "(exit code 2): no route to the database"),
        ("#!/bin/sh\nexit 77\n", "(exit code 77)"),
        ("#!/bin/sh\nkill -9 $$\n", "(signal 9)"),
        ("#!/bin/sh\nsleep 1000\n", "(took too long and was killed)"),
        ("#!/no/such/interpreter\n", "(exit code 111)"),
    ],
    ids=["stop", "other", "killed", "late", "broken"],
)
def test_a_service_is_not_started_after_a_hook_that_says_stop(place: Place, text: str, how: str) -> None:
    place.hook("before_start", "10-stop", text)
    place.hook("before_start", "20-never")
    place.hook("after_stop", "clean")
    output = place.base / "output"
    add_guarded(
        place.scan,
        hooks={"directory": str(place.hooks), "timeout": "300ms" if "sleep" in text else "30s"},
        command=place.saying("service"),
        restart="never",
        log={"directory": str(output), "format": "none"},
    )
    log = output / "current"
    wait_until(lambda: log.exists() and "cannot start" in log.read_text(errors="replace"))
    place.scan.until("billing", "down")
    assert f"cannot start: hook {place.hooks}/before_start/10-stop failed {how}" in log.read_text()
    # What came before may have to be undone, so the hooks behind run all the same.
    assert place.points() == ["after_stop"]


def test_hooks_that_others_could_have_put_there_are_refused_before_anything_is_held(place: Place) -> None:
    place.hook("before_start", "tell", mode=0o777)
    output = place.base / "output"
    add_leased(
        place.scan,
        place.leases,
        hooks={"directory": str(place.hooks)},
        restart="never",
        log={"directory": str(output), "format": "none"},
    )
    place.scan.until("billing", "down")
    wait_until(lambda: (output / "current").exists() and "others may write to" in (output / "current").read_text())
    assert place.told() == []
    assert not (place.leases / "billing").exists() or not (place.leases / "billing").read_text().strip()


def test_what_is_no_hook_does_not_run(place: Place) -> None:
    place.hook("before_start", ".hidden")
    place.hook("before_start", "old~")
    place.hook("before_start", "new.dpkg-new")
    place.hook("before_start", "README", mode=0o644)
    add_guarded(place.scan, hooks={"directory": str(place.hooks)})
    wait_until(lambda: report(place.scan).get("ready") is True)
    assert place.told() == []


def test_nothing_of_a_hook_outlives_a_killed_guard(place: Place) -> None:
    mark = f"{place.base}/hook-stays"
    place.hook("before_start", "stay", f"#!/bin/sh\nsetsid sh -c 'sleep 1000; : {mark}' &\nsleep 1000; : {mark}\n")
    add_guarded(place.scan, hooks={"directory": str(place.hooks)}, restart="never")

    def marked() -> list[int]:
        return [pid for pid in procs.pids() if procs.alive(pid) and any(mark in word for word in procs.arguments(pid))]

    wait_until(lambda: len(marked()) >= 1)
    procs.kill(report(place.scan)["pid"])
    wait_until(lambda: not marked())


def test_a_stop_during_the_hooks_before_is_obeyed(place: Place) -> None:
    place.hook("before_start", "10-wait", "#!/bin/sh\n: > {story}.waits; sleep 2\n")
    place.hook("before_start", "20-never")
    place.hook("after_stop", "clean")
    add_guarded(place.scan, hooks={"directory": str(place.hooks)}, command=place.saying("service"))
    wait_until(lambda: Path(f"{place.story}.waits").exists())
    place.scan.control("billing", "stop")
    assert place.scan.until("billing", "down")["exit"]["code"] == 0
    assert place.points() == ["after_stop"]


def test_finish_runs_as_the_service_while_the_lease_is_held(place: Place) -> None:
    script = f'echo "$HOLDFAST_EXIT_CODE $HOLDFAST_EXIT_SIGNAL $(id -un) $HOLDFAST_TOKEN" >> {place.story}'
    add_leased(
        place.scan,
        place.leases,
        command=["/bin/sh", "-c", "exit 7"],
        finish=["/bin/sh", "-c", script],
        user="nobody",
        restart="never",
    )
    wait_until(lambda: place.told() == ["7 0 nobody 1"])
    assert place.scan.until("billing", "down")["exit"]["code"] == 7


def test_a_finish_without_end_is_killed_in_its_time(place: Place) -> None:
    add_leased(
        place.scan,
        place.leases,
        command=["/bin/sh", "-c", "exit 7"],
        finish=["/bin/sh", "-c", f"echo begun >> {place.story}; trap '' TERM; while :; do sleep 0.1; done"],
        finish_timeout="200ms",
        restart="never",
    )
    wait_until(lambda: place.told() == ["begun"])
    assert place.scan.until("billing", "down")["exit"]["code"] == 7
    wait_until(place.gone())


def test_a_service_that_heeds_nothing_is_killed_and_its_finish_still_runs(place: Place) -> None:
    add_leased(
        place.scan,
        place.leases,
        command=["/bin/sh", "-c", f"trap '' TERM; echo up >> {place.story}; while :; do sleep 0.05; done"],
        finish=["/bin/sh", "-c", f'echo "signal $HOLDFAST_EXIT_SIGNAL" >> {place.story}'],
        stop_timeout="200ms",
    )
    wait_until(lambda: place.told() == ["up"])
    place.scan.control("billing", "stop")
    place.scan.until("billing", "down")
    assert place.told() == ["up", f"signal {signal.SIGKILL.value}"]


def test_standby_is_ready_for_the_supervisor_and_the_guard_tells_when_the_service_is(place: Place) -> None:
    gate = place.base / "gate"
    add_leased(
        place.scan,
        place.leases,
        command=["/bin/sh", "-c", f"while ! [ -e {gate} ]; do sleep 0.01; done; echo >&7; exec sleep 100000"],
        readiness={"notification_fd": 7},
    )
    place.scan.until("billing", "ready")
    wait_until(lambda: phase(place.scan)() == "active")
    assert report(place.scan)["ready"] is False
    gate.touch()
    wait_until(lambda: report(place.scan)["ready"] is True)


def test_a_check_tells_when_the_service_is_ready(place: Place) -> None:
    gate = place.base / "gate"
    place.hook("after_start", "tell")
    add_leased(
        place.scan,
        place.leases,
        readiness={"check": ["/usr/bin/test", "-e", str(gate)], "interval": "20ms"},
        hooks={"directory": str(place.hooks)},
    )
    wait_until(lambda: phase(place.scan)() == "active")
    assert (report(place.scan)["ready"], place.told()) == (False, [])
    gate.touch()
    wait_until(lambda: report(place.scan)["ready"] is True and place.points() == ["after_start"])


@pytest.mark.parametrize("how", ["check", "heartbeat"])
def test_an_unhealthy_holder_lets_others_have_a_try(place: Place, runtime: Path, how: str) -> None:
    well = place.base / "well"
    well.touch()
    beats = f"while [ -e {well} ]; do echo >&9; sleep 0.02; done; sleep 100000"
    health = {"heartbeat_fd": 9} if how == "heartbeat" else {"check": ["/usr/bin/test", "-e", str(well)]}
    definition = {
        "command": ["/bin/sh", "-c", beats] if how == "heartbeat" else ["/bin/sleep", "100000"],
        "health": {**health, "interval": "300ms", "failures": 2},
        "stop_timeout": "1s",
    }
    other = Scan(runtime, make_base())
    other.start()
    try:
        add_leased(place.scan, place.leases, **definition)
        wait_until(lambda: phase(place.scan)() == "active")
        first = report(place.scan)["pid"]
        add_leased(other, place.leases, command=["/bin/sleep", "100000"])
        wait_until(lambda: phase(other)() == "standby")
        well.unlink()
        wait_until(lambda: phase(other)() == "active")
        wait_until(lambda: phase(place.scan)() == "standby" and report(place.scan)["pid"] != first)
    finally:
        other.close()
        shutil.rmtree(other.base)


def test_what_the_guard_does_the_supervisor_leaves_alone(place: Place) -> None:
    add_leased(
        place.scan,
        place.leases,
        finish=["/bin/true"],
        health={"check": ["/bin/true"]},
        readiness={"check": ["/bin/true"]},
    )
    folder = place.scan.path / "billing"
    assert {path.name for path in folder.iterdir()} >= {"run", "guarded-finish", "guarded-check", "guarded-health"}
    assert not {"finish", "check", "health"} & {path.name for path in folder.iterdir()}
    told = json.loads((folder / "holdfast.json").read_text())
    assert (told["health"], told["readiness"]["check"]) == (None, False)
