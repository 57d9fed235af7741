# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Another backend for a host whose services run, with the real daemons."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import hosted
import procs
import pytest
from conforming import sweep
from switching import ENCORE, Switched, complete, counter, killed_before, logged, said
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._runtime import switch
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.host import Failed


@pytest.fixture
def host() -> Iterator[Switched]:
    base = Path(tempfile.mkdtemp(prefix="hf-switch-"))
    base.chmod(0o755)
    one = Switched(base)
    yield one
    one.close()
    sweep(base)
    shutil.rmtree(base)


def counted(host: Switched, name: str, **more: Any) -> dict[str, Any]:
    """A service that complains, in a file, when another copy of it runs."""
    folder = host.base / name
    folder.mkdir(exist_ok=True)
    script = f"""
        mkdir {folder}/lock || echo twice >>{folder}/twice
        trap 'rmdir {folder}/lock; exit 0' TERM
        echo hello
        sleep 100000 & wait"""
    return {"command": ["/bin/sh", "-c", script], "readiness": {"grace": "20ms"}, **more}


#: Where somebody has built it.
with_encore = pytest.mark.skipif(not ENCORE, reason="HOLDFAST_ENCORE does not say where daemontools-encore is")


@pytest.mark.parametrize(
    "backends",
    [
        ("runit", "s6", "embedded"),
        ("embedded", "daemontools", "runit"),
        ("s6", "supervisord", "embedded", "s6"),
        pytest.param(
            ("daemontools", "daemontools_encore", "runit", "daemontools_encore", "embedded"), marks=with_encore
        ),
    ],
    ids="-".join,
)
def test_services_move_and_the_former_backend_goes(host: Switched, backends: tuple[str, ...]) -> None:
    host.to(backends[0])
    definitions = {
        "one": counted(host, "one"),
        "two": counted(host, "two"),
        "still": {**counted(host, "still"), "state": "stopped"},
    }
    host.converge(definitions)
    for backend in backends[1:]:
        before = {name: one.pid for name, one in host.services().items()}
        predicted = host.to(backend, check=True)
        assert {name: one.pid for name, one in host.services().items()} == before
        result = host.to(backend)
        assert predicted["actions"] == result["actions"][: len(predicted["actions"])]
        assert set(result["switched"]) == {"one", "two", "still"}
        for name in ("one", "two"):
            assert result["switched"][name]["down"] >= 0.0 and result["switched"][name]["ready"] > 0.0
            assert not procs.alive(before[name] or 0)
            assert not (host.base / name / "twice").exists()
        services = host.services()
        assert {name: one.state for name, one in services.items()} == {"one": "ready", "two": "ready", "still": "down"}
        again = host.to(backend)
        assert not again["changed"] and again["switched"] == {}
        assert not host.converge(definitions)["changed"]
        left = sorted(path.name for path in host.scan.iterdir())
        assert left == sorted({".holdfast", "one", "two", "still", *([] if backend == "embedded" else [f".{backend}"])})


@pytest.mark.parametrize(
    "backends",
    [
        ("embedded", "s6", "runit", "embedded", "runit", "s6", "embedded"),
        ("embedded", "daemontools", "s6", "daemontools", "embedded"),
        ("embedded", "supervisord", "s6", "supervisord", "embedded"),
        pytest.param(("embedded", "daemontools_encore", "s6", "daemontools_encore", "embedded"), marks=with_encore),
    ],
    ids="-".join,
)
def test_not_a_line_is_lost_or_doubled_or_in_another_place(host: Switched, backends: tuple[str, ...]) -> None:
    host.to(backends[0])
    folder, log = host.base / "one", host.base / "holdfast" / "log" / "one"
    definition = counter(folder, log={"size": 16_000_000, "format": "none"})
    host.converge({"one": definition})
    for backend in backends[1:]:
        here = said(folder)
        wait_until(lambda here=here: said(folder) > here + 20)  # type: ignore[misc]
        print(backend, host.to(backend)["switched"])
        there = said(folder)
        wait_until(lambda there=there: logged(log)[-1] > there)  # type: ignore[misc]
    host.converge({"one": {**definition, "state": "stopped"}})
    wait_until(lambda: logged(log)[-1] == said(folder))
    assert complete(log)


#: Of the changes that one switch makes, each is the last one now and then; all of them with HOLDFAST_SWITCH=all.
STEPS = range(1, 1000) if os.environ.get("HOLDFAST_SWITCH") == "all" else (3, 9, 15, 26, 36, 47, 59, 72)


def interrupted(host: Switched, backend: str, step: int) -> bool:
    """Switch the backend, killed before the change with this number; whether there were so many."""
    paths = [str(hosted.CHECKOUT), *filter(None, sys.path)]
    command = [sys.executable, *killed_before(step, paths, host.options(), backend)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    # A child that was about to become something else does; these arguments are those of the killed process.
    wait_until(lambda: not host.running(f'"{host.base}/holdfast/run"'))
    return done.returncode != 0


@pytest.mark.parametrize("backends", [("s6", "embedded"), ("runit", "s6")], ids="-".join)
def test_a_switch_that_was_killed_is_finished_by_the_next_run(host: Switched, backends: tuple[str, str]) -> None:
    host.to(backends[0])
    definitions = {"one": counted(host, "one"), "two": counted(host, "two"), "says": counter(host.base / "says")}
    host.converge(definitions)
    here, there = backends
    for step in STEPS:
        if not interrupted(host, there, step):
            host.backend = there
            break
        if step % 2:
            # It does not matter who is asked now: the other one is as good.
            here, there = there, here
        assert host.to(there)["changed"] or here != host.backend
        services = host.services()
        states = {name: one.state for name, one in services.items()}
        assert states == dict.fromkeys(definitions, "ready"), f"after step {step} to {there}"
        for name in ("one", "two"):
            copies = wait_until(partial(host.copies, f"{host.base}/{name}/lock"))
            assert len(copies) == 1, f"{name} runs twice after step {step} to {there}"
            assert not (host.base / name / "twice").exists(), f"{name} ran twice after step {step} to {there}"
        again = host.to(there)
        assert not again["changed"], f"after step {step} to {there}: {again['actions']}"
        here, there = there, here
    assert not host.converge(definitions)["changed"]
    host.converge({**definitions, "says": {**definitions["says"], "state": "stopped"}})
    log, last = host.base / "holdfast" / "log" / "says", said(host.base / "says")
    wait_until(lambda: logged(log)[-1] == last)
    assert complete(log)


def test_what_does_not_get_ready_elsewhere_goes_back(host: Switched) -> None:
    host.to("s6")
    # Ready when it has come so far, however slow the machine is.
    check = {"check": ["/usr/bin/test", "-d", f"{host.base}/two/lock"], "interval": "50ms"}
    host.converge({"one": counted(host, "one"), "two": counted(host, "two", readiness=check)})
    # It runs only below s6-supervise.
    run = host.scan / "two" / "run"
    text = run.read_text()
    run.write_text(text.replace("#!/bin/sh", '#!/bin/sh\ngrep -q s6-supervise "/proc/$PPID/comm" || exit 1', 1))
    with pytest.raises(switch.Interrupted, match="two ran ready under s6 and does not under embedded") as failure:
        host.to("embedded")
    assert set(failure.value.switched) == {"one"}
    assert "it runs there again" in str(failure.value)
    host.backend = "s6"
    assert host.services()["two"].ready
    assert "the backend is being switched" in host.converge_fails({"one": counted(host, "one")})
    run.write_text(text)
    assert set(host.to("embedded")["switched"]) == {"two"}
    assert {one.state for one in host.services().values()} == {"ready"}
    assert not (host.base / "two" / "twice").exists()


def test_a_feature_that_the_other_backend_lacks_is_refused_before_anything_is_changed(host: Switched) -> None:
    host.to("embedded")
    log = {"to": "directory", "keep": "90d"}
    host.converge({"db": counted(host, "db"), "web": counted(host, "web", log=log)})
    before = {name: one.pid for name, one in host.services().items()}
    with pytest.raises(
        Failed, match=r"web: log.keep \(.*\) is not supported by the backend s6; these have it: embedded"
    ):
        host.to("s6")
    assert {name: one.pid for name, one in host.services().items()} == before
    assert sorted(path.name for path in host.scan.iterdir()) == [".holdfast", "db", "web"]


def test_what_needs_others_and_what_is_done_once_move_too(host: Switched) -> None:
    marks = host.base / "marks"
    up, down = (["/bin/sh", "-c", f"echo {word} >>{marks}"] for word in ("up", "down"))
    host.to("embedded")
    host.converge(
        {
            "db": {"type": "oneshot", "command": up, "stop_command": down, "readiness": {"timeout": "20s"}},
            "web": counted(host, "web", needs=["db"]),
        }
    )
    for number, backend in enumerate(("s6", "embedded")):
        assert list(host.to(backend)["switched"]) == ["db", "web"]
        assert {one.state for one in host.services().values()} == {"ready"}
        assert marks.read_text().split() == ["up", "down"] * (number + 1) + ["up"]
    assert not (host.base / "web" / "twice").exists()


def test_what_has_a_parent_of_ours_moves_too(host: Switched) -> None:
    marks, well = host.base / "marks", host.base / "well"
    well.touch()
    host.to("embedded")
    host.converge(
        {
            "beat": {"type": "periodic", "interval": "1h", "command": ["/bin/sh", "-c", f"echo run >>{marks}"]},
            "web": counted(host, "web", health={"check": ["/usr/bin/test", "-e", str(well)], "interval": "100ms"}),
        }
    )
    for number, backend in enumerate(("s6", "supervisord", "embedded")):
        wait_until(lambda: host.services()["beat"].state == "scheduled")
        assert marks.read_text().split() == ["run"] * (number + 1)
        assert set(host.to(backend)["switched"]) == {"beat", "web"}
        assert host.services()["web"].ready and not host.to(backend)["changed"]
    assert not (host.base / "web" / "twice").exists()


def test_services_of_others_stay_with_the_suite_that_has_them(host: Switched) -> None:
    host.to("s6")
    host.converge({"one": counted(host, "one")})
    theirs = host.scan / ".s6" / "theirs"
    beside = host.base / "theirs"
    beside.mkdir()
    (beside / "run").write_text(f"#!/bin/sh\nexec /bin/sh -c ': {host.base}/theirs; sleep 100000; :'\n")
    (beside / "run").chmod(0o755)
    shutil.copytree(beside, theirs)
    (host.scan / ".s6" / ".s6-svscan" / "control").write_bytes(b"a")
    [pid] = wait_until(partial(host.copies, f"{host.base}/theirs"))
    host.to("embedded")
    assert host.services()["one"].ready
    assert procs.alive(pid) and procs.arguments(procs.parent(pid))[0] == "s6-supervise"
    assert not host.to("embedded")["changed"]


def test_what_a_service_leaves_behind_is_gone_before_the_next_one_starts(host: Switched) -> None:
    host.to("s6")
    script = f"(trap '' TERM; while :; do sleep 0.1; : {host.base}/left; done) & exec sleep 100000"
    host.converge({"one": {"command": ["/bin/sh", "-c", script], "stop_timeout": "1s"}})
    left = wait_until(partial(host.copies, f"{host.base}/left"))
    host.to("embedded")
    assert not any(procs.alive(pid) for pid in left)
    [again] = wait_until(partial(host.copies, f"{host.base}/left"))
    assert procs.parent(again) != 1
