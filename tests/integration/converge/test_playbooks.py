# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules as Ansible runs them: from a playbook to a real supervisor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from converging import Host
from playing import Player
from waiting import wait_until


@pytest.fixture
def player(tmp_path: Path, collections_path: Path, host: Host) -> Player:
    return Player(tmp_path, collections_path, host)


def test_services_service_and_service_info(player: Player, host: Host) -> None:
    services = {
        "services": {
            "web": {
                "command": ["/bin/sleep", "100000"],
                # Short, and a word of the result: nothing but the secret itself may be covered.
                "secret_environment": {"PASSWORD": "ready"},
            },
            "bad": {
                "command": ["/bin/sh", "-c", "echo $PASSWORD is the reason; exit 3"],
                "secret_environment": {"PASSWORD": "geheim!"},
            },
        }
    }
    first, second, info, info_of_all, restarted = player.play(
        {"holdfast.supervision.services": services},
        {"holdfast.supervision.services": {"services": {"web": services["services"]["web"]}}},
        {"holdfast.supervision.service_info": {"names": ["web", "nope"]}},
        {"holdfast.supervision.service_info": {}},
        {"holdfast.supervision.service": {"name": "web", "state": "restarted"}},
        options=("--diff",),
    )
    assert first["failed"] and first["changed"]
    assert "******** is the reason" in first["msg"] and "geheim!" not in json.dumps(first)
    assert first["services"]["web"]["state"] == "ready"
    assert any(entry["after"] == "(secret changed)\n" for entry in first["diff"])
    assert not second["changed"] and second["services"]["web"]["state"] == "ready"
    assert [service["exists"] for service in info["services"]] == [True, False]
    assert info["supervisor"]["pid"] and not info["changed"]
    assert [service["name"] for service in info_of_all["services"]] == ["bad", "web"]
    assert restarted["changed"] and restarted["status"]["pid"] != second["services"]["web"]["pid"]
    assert host.status()["web"]["state"] == "ready"
    assert "payload" not in json.dumps([first, second])


def test_roles_of_other_people_steer_our_services(player: Player, host: Host) -> None:
    assert host.task({"web": {"command": ["/bin/sleep", "100000"]}})["changed"]
    pid = host.status()["web"]["pid"]
    foreign = {"sleep": 3, "pattern": "web", "arguments": "--now", "runlevel": "default"}
    started, disabled, restarted, unknown = player.play(
        {"ansible.builtin.service": {"name": "web", "state": "started", "enabled": True, **foreign}},
        {"ansible.builtin.service": {"name": "web", "enabled": False}},
        {"ansible.builtin.service": {"name": "web", "state": "restarted"}},
        {"ansible.builtin.service": {"name": "surely-not-there", "state": "started"}},
        module_defaults={
            "ansible.builtin.service": {"use": "holdfast.supervision.service"},
            "holdfast.supervision.service": {"scan_directory": str(host.scan)},
        },
    )
    assert not started["changed"] and started["manager"] == "embedded" and started["state"] == "started"
    assert disabled["changed"] and (host.scan / "web" / "down").exists()
    assert restarted["changed"] and host.status()["web"]["pid"] != pid
    assert unknown["failed"] and "surely-not-there" in unknown["msg"]


def test_the_role_tells_all_that_is_wrong_with_definitions_at_once(player: Player, host: Host) -> None:
    definitions = {
        "a": {"command": ["/bin/sleep", "{{ nobody_knows }}"]},
        "b": {"command": "/bin/sleep 1"},
        "c": {"command": ["/bin/sleep", "1"], "user": "{{ nor_this }}"},
    }
    results = player.play(
        {"ansible.builtin.import_role": {"name": "holdfast.supervision.services"}},
        vars={
            "ansible_facts": {"user_uid": os.geteuid(), "user_dir": str(host.base)},
            "services_definitions": definitions,
            "services_scan_directory": str(host.scan),
        },
    )
    assert results[-1]["failed"] and len(results[-1]["problems"]) == 3
    for words in ("services_definitions.a.command[1]: 'nobody_knows' is undef", "b.command: ", "c.user: 'nor_this'"):
        assert words in results[-1]["msg"]


@pytest.mark.parametrize("crowd", [3, 300])
def test_of_a_crowd_the_status_shows_those_that_are_not_well(player: Player, host: Host, crowd: int) -> None:
    lines = ["NAME   STATE    PID  FOR  READY  DEATHS  REASON"]
    lines += [f"s{number:04}  ready    {number}  3s  yes  0" for number in range(crowd)]
    lines += ["job  scheduled  -  3s  yes  0  next run in 5 s"]
    lines += ["bad  backoff  -  3s  no  9  exit code 3", "held  ready (paused)  8  3s  yes  0"]
    lines += ["/etc/holdfast/services: supervisor 7, up 3s"]
    command = host.base / "holdfast"
    command.write_text("#!/bin/sh\ncat <<END\n" + "\n".join(lines) + "\nEND\n")
    command.chmod(0o755)
    results = player.play(
        {"ansible.builtin.import_role": {"name": "holdfast.supervision.supervisor", "tasks_from": "status"}},
        vars={"supervisor_command": str(command)},
    )
    few = [lines[0], *lines[-3:], "and 301 services that are ready or scheduled"]
    assert results[-1]["msg"] == (lines if crowd == 3 else few)


def test_what_comes_from_a_vault_is_refused_where_everybody_could_read_it(player: Player, host: Host) -> None:
    secret = "geheim!"
    key = host.base / "key"
    key.write_text("key\n")
    command = [sys.executable, "-m", "ansible", "vault", "encrypt_string", "--vault-password-file", str(key)]
    vaulted = subprocess.run(
        [*command, "--name", "pw", secret],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HOME": str(host.base)},
    ).stdout
    (host.base / "vars.yml").write_text(
        vaulted
        + """
services_definitions: {a: {command: [/bin/sleep, "9", "{{ pw }}"], environment: {A: "{{ pw }}", B: "x"}}}
services_definitions__b: "{{ {'b': {'command': ['/bin/true'], 'environment': {'C': pw}}} }}"
good: {command: [/bin/sleep, "100000"], secret_environment: {A: "{{ pw }}"}}
"""
    )
    task = "holdfast.supervision.services"
    plain = {"a": {"command": ["/bin/true"]}}
    fact = {"f": {"command": ["/bin/true"], "environment": {"F": "{{ pw }}"}}}
    of_the_inventory, of_the_task, of_its_defaults, good, _set, of_a_fact = player.play(
        {task: {}},
        {task: {"services": {"a": {"command": ["/bin/true"], "environment": {"D": "{{ pw }}"}}}}},
        {task: {"services": plain, "defaults": {"environment": {"E": "{{ pw }}"}}}},
        {task: {"services": {"a": "{{ good }}"}}},
        {"ansible.builtin.set_fact": {"services_definitions__fact": fact}},
        {task: {}},
        options=("-e", f"@{host.base / 'vars.yml'}", "--vault-password-file", str(key), "--diff"),
    )
    paths = [line.split(": ")[1] for line in of_the_inventory["problems"]]
    assert paths == [
        f"services_definitions{path}" for path in (".a.command[2]", ".a.environment.A", "__b.b.environment.C")
    ]
    assert [line.split(": ")[1] for line in of_the_task["problems"]] == ["services.a.environment.D"]
    assert [line.split(": ")[1] for line in of_its_defaults["problems"]] == ["defaults.environment.E"]
    assert f"{paths[-1]}: " in of_a_fact["msg"] and "services_definitions__fact.f.environment.F: " in of_a_fact["msg"]
    assert not good.get("failed") and (host.scan / "a" / "env" / "A").read_text() == secret
    assert secret not in json.dumps([of_the_inventory, of_the_task, of_its_defaults, good, of_a_fact])


@pytest.mark.parametrize("tag", ["services", "supervisor_configure"])
def test_a_part_of_the_site_learns_whose_host_it_is_on(tmp_path: Path, collections_path: Path, tag: str) -> None:
    environment = {**os.environ, "ANSIBLE_HOME": str(tmp_path), "ANSIBLE_COLLECTIONS_PATH": str(collections_path)}
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "here,", "--list-tasks", "--tags", tag]
    listed = subprocess.run(
        [*command, "holdfast.supervision.site"], env=environment, capture_output=True, text=True, check=True
    ).stdout
    learns, does = (
        listed.index("The host can run the supervisor"),
        listed.index("is as it should be" if "_" in tag else "are as the inv"),
    )
    assert learns < does and "Group of the log writer" not in listed


def test_check_mode_of_a_playbook_changes_nothing(player: Player, host: Host) -> None:
    before = host.tree()
    (planned,) = player.play(
        {"holdfast.supervision.services": {"services": {"web": {"command": ["/bin/sleep", "100000"]}}}},
        options=("--check", "--diff"),
    )
    assert planned["changed"] and planned["actions"] == ["web: create", "web: start"]
    assert [entry["after_header"].rpartition("/")[2] for entry in planned["diff"]][-1] == "state of the services"
    assert host.tree() == before
    wait_until(lambda: host.status() == {})
