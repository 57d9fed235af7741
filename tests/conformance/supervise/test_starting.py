# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services come up, and the task says truly whether they did."""

from __future__ import annotations

from conforming import Supervised, features, sh
from converging import SLEEP
from waiting import wait_until

#: A service that ends within this time was not ready, however busy the machine is.
PATIENT = {"grace": "10s"}


def test_new_services_run_and_the_second_run_changes_nothing(host: Supervised) -> None:
    definitions = {"web": {"command": SLEEP}, "db": {"command": SLEEP}}
    result = host.good(definitions)
    assert sorted(result["actions"]) == ["db: create", "db: start", "web: create", "web: start"]
    services = host.snapshot().services
    for name in definitions:
        record = result["services"][name]
        assert record["state"] == services[name].state == "ready"
        assert record["pid"] == services[name].pid
        assert services[name].want == "up" and services[name].enabled and not services[name].deaths
    again = host.good(definitions)
    assert not again["changed"] and again["actions"] == [] and again["diff"] == []
    assert {n: s.pid for n, s in host.snapshot().services.items()} == {n: s.pid for n, s in services.items()}


def test_a_service_that_dies_at_once_fails_the_task_and_the_others_converge(host: Supervised) -> None:
    result = host.task({"bad": {"command": sh("exit 3"), "readiness": PATIENT}, "good": {"command": SLEEP}})
    assert result["failed"] and "bad: " in result["msg"]
    assert result["services"]["good"]["state"] == "ready"
    assert host.service("good").pid


def test_a_stopped_service_is_there_and_does_not_run(host: Supervised) -> None:
    host.good({"rests": {"command": SLEEP, "state": "stopped"}})
    service = host.service("rests")
    assert (service.state, service.want, service.enabled, service.pid) == ("down", "down", False, None)
    assert not host.good({"rests": {"command": SLEEP, "state": "stopped"}})["changed"]


@features("readiness.notification_fd")
def test_it_is_ready_when_it_says_so_on_its_descriptor(host: Supervised) -> None:
    go = host.base / "go"
    script = f"while [ ! -e {go} ]; do sleep 0.02; done; echo >&3; exec sleep 100000"
    definition = {"one": {"command": sh(script), "readiness": {"notification_fd": 3}}}
    result = host.task(definition, timeout=1.0)
    assert result["failed"] and "not ready within 1 s" in result["msg"]
    assert host.service("one").state == "up"
    go.touch()
    host.until("one", "ready")
    assert host.good(definition)["services"]["one"]["state"] == "ready"


@features("readiness.check")
def test_it_is_ready_when_its_check_succeeds(host: Supervised) -> None:
    go = host.base / "go"
    readiness = {"check": ["/usr/bin/test", "-e", str(go)], "interval": "20ms"}
    definition = {"one": {"command": SLEEP, "readiness": readiness}}
    result = host.task(definition, timeout=1.0)
    assert result["failed"] and "not ready within 1 s" in result["msg"]
    go.touch()
    assert host.good(definition)["services"]["one"]["state"] == "ready"
    host.until("one", "ready")
    assert not host.good(definition)["changed"]


def test_one_hundred_services_come_up_together(host: Supervised) -> None:
    definitions = {f"s{number}": {"command": SLEEP, "log": False} for number in range(100)}
    result = host.good(definitions, timeout=120.0)
    assert {record["state"] for record in result["services"].values()} == {"ready"}
    pids = {service.pid for service in host.snapshot().services.values()}
    assert len(pids) == 100
    assert not host.good(definitions)["changed"]
    assert {service.pid for service in host.snapshot().services.values()} == pids
    wait_until(lambda: host.good({}, prune=True)["services"] == {}, 60)
