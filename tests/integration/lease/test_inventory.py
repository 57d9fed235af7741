# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The inventory plugin: hosts that are registered, and those that hold something."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from guarded import PYTHON, Guards
from waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root")


class Fleet:
    """Hosts that register themselves, and what ansible-inventory makes of them."""

    def __init__(self, guards: Guards, collections: Path) -> None:
        self.guards = guards
        self.collections = collections
        words = dict(word[2:].split("=", 1) for word in guards.driver if word.startswith("--"))
        self.driver = words.pop("driver", "file")
        given = [word.partition("=")[2] for word in guards.driver if word.startswith("--parameter=")]
        self.options = dict(word.split("=", 1) for word in given)
        if self.driver == "file":
            self.options = {"directory": str(guards.leases)}
            guards.leases.mkdir(mode=0o700, exist_ok=True)

    def register(self, host: str, *notes: str) -> subprocess.Popen[str]:
        command = [
            PYTHON,
            "-I",
            "-S",
            str(self.guards.runtime),
            "register",
            f"--name={host}",
            f"--driver={self.driver}",
        ]
        command += [f"--state={self.guards.base / 'holders'}", *(f"--note={note}" for note in notes)]
        command += [f"--parameter={key}={value}" for key, value in self.options.items()]
        if self.driver == "etcd":
            command.append("--parameter=ttl=2")
        errors = (self.guards.base / f"{host}.err").open("ab")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, text=True)
        errors.close()
        self.guards.started.append(process)
        return process

    def inventory(self, **more: Any) -> subprocess.CompletedProcess[str]:
        path = self.guards.base / "holdfast.yml"
        text = {"plugin": "holdfast.supervision.leases", "driver": self.driver, **self.options, **more}
        if "endpoints" in text:
            text["endpoints"] = str(text["endpoints"]).split(",")
        path.write_text(yaml.safe_dump(text))
        home = str(self.guards.base / "home")
        environment = {
            **os.environ,
            "HOME": home,
            "ANSIBLE_HOME": home,
            "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
            "ANSIBLE_INVENTORY_ENABLED": "holdfast.supervision.leases",
            "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
        }
        command = [sys.executable, "-m", "ansible", "inventory", "-i", str(path), "--list"]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)

    def listed(self, **more: Any) -> dict[str, Any]:
        done = self.inventory(**more)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))


def plain(value: Any) -> Any:
    """The value without the marks of what is no template."""
    if isinstance(value, dict):
        return value.get("__ansible_unsafe") or {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


@pytest.fixture(params=["file", "etcd"])
def fleet(request: pytest.FixtureRequest, guards: Guards, collections_path: Path) -> Fleet:
    if request.param == "etcd":
        guards.use_etcd(request.getfixturevalue("etcd").endpoints)
    return Fleet(guards, collections_path)


def test_live_hosts_and_holders_are_groups_and_variables(fleet: Fleet) -> None:
    web = fleet.register("web1", "role=web", "ansible_host=192.0.2.7", "ansible_connection=local", "text={{ 1 + 1 }}")
    fleet.guards.start("billing", "--resource=billing-db")
    fleet.guards.until("billing", "active")
    wait_until(lambda: [*(fleet.guards.base / "holders").glob("*/token")])
    listed = fleet.listed(
        keyed_groups=[{"key": "role", "separator": ""}],
        groups={"busy": "holdfast_leases | length > 0"},
        compose={"held": "holdfast_leases | map(attribute='name') | list"},
    )
    assert listed["holdfast_live"]["hosts"] == ["web1"]
    assert listed["holder_billing_db"]["hosts"] == listed["web"]["hosts"] == listed["busy"]["hosts"] == ["web1"]
    # What comes from a store is no template: Ansible says so, and shows it as such.
    assert listed["_meta"]["hostvars"]["web1"]["text"] == {"__ansible_unsafe": "{{ 1 + 1 }}"}
    variables = plain(listed["_meta"]["hostvars"]["web1"])
    assert variables["ansible_host"] == "192.0.2.7" and "ansible_connection" not in variables
    assert variables["held"] == ["billing-db"]
    assert variables["holdfast_leases"][0]["token"] == fleet.guards.token("billing", "billing-db")
    assert variables["holdfast_host"] == os.uname().nodename
    web.terminate()
    assert web.wait(20) == 0
    assert "hosts" not in fleet.listed().get("holdfast_live", {})


def test_a_second_host_of_the_same_name_is_not_registered(fleet: Fleet) -> None:
    fleet.register("web1")
    wait_until(lambda: [*(fleet.guards.base / "holders").glob("*/token")])
    second = fleet.register("web1")
    assert second.wait(20) == 111
    assert "has a holder of host:web1 here already" in (fleet.guards.base / "web1.err").read_text()


NOTED = """\
from ansible_collections.example.locks.plugins.module_utils.table import LeaseDriver as Table
from ansible_collections.holdfast.supervision.plugins.module_utils.lease_driver import NOTE, Holder


class LeaseDriver(Table):
    name = "example.noted.table"
    capabilities = Table.capabilities | {NOTE}

    def all_owners(self):
        note = {"owner": "web1", "vars": {"role": self._path}}
        return [
            Holder("host:web1", "exclusive", "web1@h", 1, 7, 1.0, None, note, "h"),
            Holder("db", "exclusive", "billing@h", 2, 9, 1.0, None, None, "h"),
        ]
"""


def test_a_driver_of_another_collection_makes_an_inventory_if_it_keeps_notes(
    guards: Guards, collections_path: Path
) -> None:
    third = Path(__file__).resolve().parents[2] / "third"
    made = guards.base / "ansible_collections/example/noted/plugins/module_utils"
    made.mkdir(parents=True)
    (made / "table.py").write_text(NOTED)
    paths = f"{collections_path}:{third}:{guards.base}"
    fleet = Fleet(guards, Path(paths))
    fleet.driver, fleet.options = "example.noted.table", {"parameters": {"path": "/some/table"}}
    listed = fleet.listed(keyed_groups=[{"key": "role", "separator": ""}])
    assert listed["holdfast_live"]["hosts"] == listed["holder_db"]["hosts"] == ["web1"]
    assert plain(listed["_meta"]["hostvars"]["web1"])["role"] == "/some/table"
    fleet.driver = "example.locks.table"
    assert "driver example.locks.table keeps no notes" in fleet.inventory().stderr
    fleet.driver = "example.none.table"
    assert "there is no lease driver example.none.table here" in fleet.inventory().stderr
    fleet.driver = "sanlock"
    assert "driver: sanlock: is not for inventories, which need notes" in " ".join(fleet.inventory().stderr.split())
    fleet.driver = "etcd"
    assert "parameters: means nothing to driver etcd" in fleet.inventory().stderr


def test_an_option_that_there_is_none_of_is_an_error(fleet: Fleet) -> None:
    """Without its endpoints an inventory would be that of whatever etcd the controller has."""
    done = fleet.inventory(endpoint="http://etcd1.example.com:2379", compose={"a": "1"}, cache=False)
    assert done.returncode != 0 and "endpoint: unknown option; did you mean 'endpoints'?" in done.stderr


def test_a_store_that_cannot_be_read_is_an_error_and_no_empty_inventory(fleet: Fleet) -> None:
    fleet.driver, fleet.options = "etcd", {"endpoints": "http://127.0.0.1:1"}
    done = fleet.inventory()
    assert done.returncode != 0
    assert "no answer from etcd" in done.stderr
    fleet.options = {"endpoints": "http://127.0.0.1:1", "user": "me"}
    assert "user and password_file belong together" in fleet.inventory().stderr
