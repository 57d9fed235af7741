# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules lease and lease_info as plays run them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from guarded import PYTHON, Guards
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import mutex, task
from ansible_collections.holdfast.supervision.plugins.modules import lease as lease_module

CALLBACK = """
import json
from ansible.plugins.callback import CallbackBase
class CallbackModule(CallbackBase):
    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, "stdout", "lines"
    def v2_runner_on_ok(self, result): self._display.display("RESULT " + json.dumps(result._result))
    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._display.display("RESULT " + json.dumps({**result._result, "failed": True}))
"""
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root")


class Controller:
    """Runs plays with a folder of its own, against one runtime and one directory of leases."""

    def __init__(self, base: Path, collections: Path, runtime: Path) -> None:
        self.base = base
        self.collections = collections
        self.defaults: dict[str, Any] = {"parameters": {"directory": str(base / "leases")}}
        self.runtime = str(base / "lib")

    def play(self, *tasks: dict[str, Any], name: str = "one") -> list[dict[str, Any]]:
        folder = self.base / name
        folder.mkdir(exist_ok=True)
        (folder / "lines.py").write_text(CALLBACK)
        scan = {"scan_directory": str(self.base / "scan")}
        play = {
            "hosts": "all",
            "gather_facts": False,
            "module_defaults": {
                "group/holdfast.supervision.supervision": {**self.defaults, **scan},
                "holdfast.supervision.lease": {"runtime_directory": self.runtime, **self.defaults, **scan},
            },
            "tasks": [{"ignore_errors": True, **one} for one in tasks],
        }
        (folder / "play.yml").write_text(yaml.safe_dump([play]))
        environment = {
            **os.environ,
            "HOME": str(folder),
            "ANSIBLE_HOME": str(folder / "home"),
            "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
            "ANSIBLE_CALLBACK_PLUGINS": str(folder),
            "ANSIBLE_STDOUT_CALLBACK": "lines",
        }
        command = [sys.executable, "-m", "ansible", "playbook", "-i", "here,", "-c", "local", "--diff"]
        command += ["-e", f"ansible_python_interpreter={PYTHON}", str(folder / "play.yml")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)
        lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        assert len(lines) == len(tasks), done.stdout + done.stderr
        return [json.loads(line[len("RESULT ") :]) for line in lines]


@pytest.fixture
def controller(collections_path: Path, runtime: Path) -> Iterator[Controller]:
    base = Path(tempfile.mkdtemp(prefix="hf-play-"))
    base.chmod(0o755)
    (base / "lib").mkdir()
    (base / "lib" / "current").symlink_to(runtime)
    (base / "leases").mkdir(mode=0o700)
    (base / "scan" / ".holdfast").mkdir(parents=True)
    yield Controller(base, collections_path, runtime)
    for owner in ("run 1", "run 2", "left", "right"):
        mutex.Mutex("m", owner, "file", {"directory": str(base / "leases")}, []).release()
    shutil.rmtree(base)


def _lease(**options: Any) -> dict[str, Any]:
    words = {key: options.pop(key) for key in ("check_mode",) if key in options}
    return {"holdfast.supervision.lease": {"name": "m", **options}, **words}


def test_a_play_holds_a_lease_over_its_tasks(controller: Controller) -> None:
    foretold, first, again, other, info, released, released_again = controller.play(
        _lease(owner="run 1", check_mode=True),
        _lease(owner="run 1"),
        _lease(owner="run 1"),
        _lease(owner="run 2"),
        {"holdfast.supervision.lease_info": {"names": ["m"]}},
        _lease(owner="run 1", state="released"),
        _lease(owner="run 1", state="released"),
    )
    assert (foretold["changed"], first["changed"], again["changed"]) == (True, True, False)
    assert first["diff"]["after"] == {"owner": "run 1", "mode": "exclusive", "token": first["token"]}
    assert foretold["diff"]["after"]["owner"] == "run 1" and "token" not in foretold
    assert again["token"] == first["token"] and again["valid_until"] >= first["valid_until"]
    assert other["failed"] and "run 1" in other["msg"] and other["holders"][0]["token"] == first["token"]
    (lease,) = info["leases"]
    assert [holder["owner"] for holder in lease["holders"]] == ["run 1"]
    assert "m" in [guard["name"] for guard in info["guards"] if guard["owner"] == "run 1"]
    assert (released["changed"], released_again["changed"]) == (True, False)


def test_of_two_controllers_one_is_in_at_a_time(controller: Controller) -> None:
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(controller.play, _lease(owner=name), name=name) for name in ("left", "right")]
        results = [run.result()[0] for run in runs]
    assert sorted(bool(result.get("failed")) for result in results) == [False, True]


@pytest.fixture
def options(controller: Controller) -> dict[str, Any]:
    """The options of the module with their defaults, for calls of its body."""
    defaults = {"state": "held", "ttl": 600.0, "wait": 0.0, "mode": "exclusive", "safety": "standard", "driver": "file"}
    found: dict[str, Any] = dict.fromkeys(("owner", "reason", "service", "to", "id"))
    found.update(name="m", python=PYTHON, runtime_directory=controller.runtime, **defaults, **controller.defaults)
    return {**found, "scan_directory": str(controller.base / "scan")}


def test_the_body_knows_every_option_of_the_module(options: dict[str, Any]) -> None:
    documented = set(yaml.safe_load(lease_module.DOCUMENTATION)["options"]) | {"driver", "parameters"}
    assert set(options) == documented


def test_a_lease_is_broken_with_a_reason(options: dict[str, Any]) -> None:
    held = task.lease({**options, "owner": "run 1"}, False)
    foretold = task.lease({**options, "state": "broken", "reason": "it hangs"}, True)
    assert foretold["changed"]
    broken = task.lease({**options, "state": "broken", "reason": "it hangs"}, False)
    assert broken["changed"] and broken["token"] > held["token"]
    assert not task.lease({**options, "state": "broken", "reason": "it hangs"}, False)["changed"]


@pytest.mark.parametrize("wrong", [{"owner": ""}, {"ttl": 0.0}, {"wait": -1.0}, {"name": "no name"}])
def test_what_cannot_be_is_refused_before_anything_starts(options: dict[str, Any], wrong: dict[str, Any]) -> None:
    for check_mode in (True, False):
        result = task.lease({**options, "owner": "run 1", **wrong}, check_mode)
        assert result["failed"] and next(iter(wrong)) in result["msg"]


def test_a_running_service_gets_one_more_resource_and_gives_it_back(
    options: dict[str, Any], guards: Guards, controller: Controller
) -> None:
    (controller.base / "scan" / ".holdfast" / "guards").symlink_to(guards.state)
    guards.start("svc")
    child = guards.until("svc", "active")["tree"]
    present = {**options, "name": "disk", "service": "svc", "state": "present"}
    absent = {**present, "state": "absent"}
    assert task.lease(present, True)["changed"]
    first = task.lease(present, False)
    assert first["changed"] and first["diff"] == {
        "before": {"r": "exclusive"},
        "after": {"r": "exclusive", "disk": "exclusive"},
    }
    again = task.lease(present, False)
    assert not again["changed"] and again["token"] == first["token"]
    guards.start("other", "--resource=o")
    guards.until("other", "active")
    for check_mode in (True, False):
        assert "held by svc" in task.lease({**present, "service": "other"}, check_mode)["msg"]
    assert task.lease(absent, True)["changed"] and task.lease(absent, False)["changed"]
    assert not task.lease(absent, False)["changed"]
    assert "the last one" in task.lease({**absent, "name": "r"}, True)["msg"]
    assert guards.report("svc")["tree"] == child


def test_a_service_is_handed_over_once(options: dict[str, Any], guards: Guards, controller: Controller) -> None:
    (controller.base / "scan" / ".holdfast" / "guards").symlink_to(guards.state)
    blue = guards.start("blue")
    guards.until("blue", "active")
    wanted = {**options, "service": "blue", "to": "green", "state": "handed_over"}
    assert "green: is not running" in task.lease(wanted, True)["msg"]
    guards.start("green")
    guards.until("green", "standby")
    token = guards.token("blue")
    assert task.lease(wanted, True)["changed"]
    moved = task.lease(wanted, False)
    assert moved["changed"] and moved["tokens"] == {"r": token + 1}
    assert moved["diff"] == {"before": {"holder": "blue"}, "after": {"holder": "green"}}
    blue.wait(20)
    wait_until(lambda: not task.lease(wanted, False)["changed"])


def test_a_play_has_a_disk_by_whatever_path(controller: Controller) -> None:
    image = controller.base / "disk.img"
    image.write_bytes(bytes(512))
    (controller.base / "link").symlink_to(image)
    one, same, other, info, none, released = controller.play(
        _lease(name=f"disk:{image}", owner="run 1"),
        _lease(name=f"disk:{controller.base}/link", owner="run 1"),
        _lease(name=f"disk:{controller.base}/link", owner="run 2"),
        {"holdfast.supervision.lease_info": {"names": [f"disk:{controller.base}/link"]}},
        _lease(name=f"disk:{controller.base}/none", owner="run 1"),
        _lease(name=f"disk:{controller.base}/link", owner="run 1", state="released"),
    )
    assert (one["changed"], same["changed"], released["changed"]) == (True, False, True)
    assert other["failed"] and [holder["owner"] for holder in other["holders"]] == ["run 1"]
    assert [holder["owner"] for holder in info["leases"][0]["holders"]] == ["run 1"]
    assert info["leases"][0]["name"].startswith("disk:file.")
    (guard,) = [found for found in info["guards"] if found["owner"] == "run 1"]
    assert guard["disks"] == {info["leases"][0]["name"]: str(image)}
    assert none["failed"] and f"disk {controller.base}/none: No such file" in none["msg"]
