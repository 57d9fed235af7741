# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`holdfast lease …` for people."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from guarded import PYTHON, Guards
from waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root")


class Person:
    """Somebody at the command line of the host."""

    def __init__(self, guards: Guards) -> None:
        self.guards = guards
        self.scan = guards.base / "scan"
        (self.scan / ".holdfast").mkdir(parents=True)
        (self.scan / ".holdfast" / "guards").symlink_to(guards.state)

    def says(self, *words: str) -> tuple[int, str]:
        command = [PYTHON, "-I", "-S", str(self.guards.runtime), "lease", *words, "--scan", str(self.scan)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def well(self, *words: str) -> str:
        code, text = self.says(*words)
        assert code == 0, text
        return text


@pytest.fixture
def person(guards: Guards) -> Person:
    guards.start("a")
    guards.until("a", "active")
    guards.start("b")
    guards.until("b", "standby")
    return Person(guards)


def test_who_holds_and_why_somebody_else_does_not(person: Person) -> None:
    token = person.guards.token("a")
    lines = [line.split() for line in person.well("list").splitlines()]
    assert ["a", "active"] in [line[:2] for line in lines] and ["b", "standby"] in [line[:2] for line in lines]
    text = person.well("status", "b")
    assert text.startswith("b: standby for ") and f"r: a has it (process {person.guards.report('a')['pid']}" in text
    assert f"token {token}" in text and "in line here: b" in text
    (told,) = json.loads(person.well("status", "a", "--json"))["guards"]
    assert told["phase"] == "active" and told["leases"][0]["waiters"] == ["b"]
    assert person.says("status", "nobody")[0] == 4


def test_a_running_service_gets_one_more_and_gives_it_back(person: Person) -> None:
    assert "a holds disk, token 1" in person.well("acquire", "disk", "--service=a")
    assert person.says("acquire", "disk", "--service=b")[0] == 1
    assert "given disk back" in person.well("release", "disk", "--service=a")
    code, text = person.says("release", "disk", "--service=a")
    assert code == 1 and "not held" in text
    assert person.says("acquire", "disk", "--service=nobody")[0] == 4


def test_a_service_is_handed_over_and_nothing_happens_the_second_time(person: Person) -> None:
    code, text = person.says("handover", "a", "nobody")
    assert code == 1 and "Now a is active, nobody has no guard" in text
    assert "b has taken over r (2)" in person.well("handover", "a", "b")
    wait_until(lambda: "nothing to hand over" in person.says("handover", "a", "b")[1])
    assert "there is no hand-over" in person.well("handover", "b", "a", "--cancel")


def test_a_lease_for_an_owner(person: Person) -> None:
    store = f"--parameter=directory={person.guards.leases}"
    name = f"m-{person.guards.base.name}"
    assert "me holds" in person.well("acquire", name, "--owner=me", store)
    try:
        assert "me still holds" in person.well("acquire", name, "--owner=me", store)
        assert f"{name} (me)" in person.well("list")
        code, text = person.says("acquire", name, "--owner=you", store)
        assert code == 1 and "me on" in text
        assert "tokens below 2 are stale" in person.well("break", name, "--reason=a test", store)
        assert "nobody has it here" in person.well("break", name, "--reason=a test", store)
    finally:
        person.well("release", name, "--owner=me", store)


@pytest.mark.parametrize("words", [["acquire", "x"], ["break", "x"], ["release", "x", "--owner=a", "--service=b"], []])
def test_wrong_usage(guards: Guards, words: list[str]) -> None:
    assert Person(guards).says(*words)[0] == 2
