# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fuzzer on the wire, aware of the structure: whatever it sends, nothing runs that was not allowed and valid.

HOLDFAST_FUZZ_SECONDS says for how long (8), HOLDFAST_FUZZ_SEED where it begins (1): the same seed sends the same requests.
"""

from __future__ import annotations

import json
import os
import random
import re
import socket
import time
from typing import Any

import procs
import pytest
from helping import CALLER, INTERFACE, HelperProcess

from ansible_collections.holdfast.supervision.plugins.module_utils._helper import schema

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a helper gives away what only root has")

SECONDS = float(os.environ.get("HOLDFAST_FUZZ_SECONDS", "8"))
#: How many there are at least, however long they take.
LEAST = 300
SEED = int(os.environ.get("HOLDFAST_FUZZ_SEED", "1"))
GENERATED = "io.holdfast.Operations"

SEEDS: list[dict[str, Any]] = [
    {"method": f"{INTERFACE}.Call", "parameters": {"operation": "note", "parameters": {"number": 5, "word": "on"}}},
    {"method": f"{INTERFACE}.Call", "parameters": {"operation": "roots", "parameters": {"number": 5}, "id": "a-1"}},
    {"method": f"{INTERFACE}.Call", "parameters": {"operation": "note", "parameters": {"number": 1}, "id": None}},
    {"method": f"{GENERATED}.Note", "parameters": {"number": 9, "word": "off"}},
    {"method": f"{GENERATED}.Roots", "parameters": {"number": 9}, "oneway": True},
    {"method": f"{INTERFACE}.Operations", "more": True},
    {"method": f"{INTERFACE}.Outcome", "parameters": {"id": "a-1"}},
    {"method": "org.varlink.service.GetInfo"},
    {"method": "org.varlink.service.GetInterfaceDescription", "parameters": {"interface": GENERATED}},
]
VALUES: list[Any] = [
    None, True, False, 0, 1, 5, 9, 10, -1, 2**31, 2**63, 2**64, 10**19, 1.0, 5.5, 1e308, "", "on", "off", "5", "note", "roots",
    "-rf", "--help", "$(id)", "a\0b", "\n", "\ud800", "../../etc/passwd", "/proc/self/root", "x" * 300, "x" * 70000, [], [[]], {},
    {"number": 5}, [5], {"": None}, "io.holdfast.Helper.Call", "{number}", "%s%n", "\u202e", "é",
]  # fmt: skip


class Fuzzer:
    """Makes one request after the other out of the seeds."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def frame(self) -> bytes:
        request = json.loads(json.dumps(self._random.choice(SEEDS)))
        for _turn in range(self._random.choice((0, 1, 1, 1, 2, 3))):
            self._mutate(request)
        text = json.dumps(request, ensure_ascii=self._random.random() < 0.9, allow_nan=True)
        data = text.encode("utf-8", "surrogatepass").replace(b"\0", b"\\u0000")
        kind = self._random.random()
        if kind < 0.1:
            data = self._bytes(data)
        elif kind < 0.15:
            # A key twice: which one counts must be the same for judging and for running.
            data = data.replace(b'"number": ', b'"number": 77, "number": ', 1)
        elif kind < 0.2:
            data = re.sub(
                rb": (5|1|9)\b",
                self._random.choice([b": NaN", b": -Infinity", b": 1e400", b": " + b"9" * 5000]),
                data,
                count=1,
            )
        return data + b"\0"

    def _mutate(self, request: dict[str, Any]) -> None:
        place: Any = request
        while isinstance(place, dict) and place:
            key = self._random.choice(list(place))
            if isinstance(place[key], dict) and place[key] and self._random.random() < 0.8:
                place = place[key]
                continue
            action = self._random.random()
            if action < 0.6:
                place[key] = self._random.choice(VALUES)
            elif action < 0.75:
                del place[key]
            elif action < 0.9:
                place[self._random.choice(["number", "word", "id", "operation", "uid", "__proto__", "x" * 100, ""])] = (
                    self._random.choice(VALUES)
                )
            else:
                for _level in range(self._random.choice((2, 12, 40))):
                    place[key] = {"a": place[key]}
            return

    def _bytes(self, data: bytes) -> bytes:
        changed = bytearray(data)
        for _turn in range(self._random.choice((1, 1, 3, 20))):
            where = self._random.randrange(len(changed) or 1)
            action = self._random.random()
            if action < 0.5 and changed:
                changed[where] = self._random.randrange(1, 256)
            elif action < 0.75:
                del changed[where : where + self._random.randrange(1, 9)]
            else:
                changed[where:where] = self._random.choice([b"{", b"[", b'"', b"\\", b"\xff", b"\xc3", b",", b"0" * 50])
        return bytes(changed)


def runs(frame: bytes) -> bool:
    """Say, by another reading than the helper's, whether a request is a valid call of what its sender may call."""
    try:
        request = json.loads(frame[:-1].decode("utf-8"))
        method, outer = request["method"], request["parameters"]
        inner = outer["parameters"] if method == f"{INTERFACE}.Call" else outer
        if method == f"{INTERFACE}.Call" and outer["operation"] != "note":
            return False
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    if method not in (f"{INTERFACE}.Call", f"{GENERATED}.Note") or not isinstance(inner, dict):
        return False
    number = inner.get("number")
    return (
        set(inner) <= {"number", "word"}
        and isinstance(number, int)
        and not isinstance(number, bool)
        and 1 <= number <= 9
        and inner.get("word") in (None, "on", "off")
    )


class Wire:
    """A connection as the caller, made anew when it was closed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._peer: socket.socket | None = None

    def close(self) -> None:
        if self._peer is not None:
            self._peer.close()
        self._peer = None

    def ask(self, frame: bytes, oneway: bool) -> bytes | None:
        """Give the answer without its NUL, None if the connection was closed or there is none to come."""
        if self._peer is None:
            # The kernel takes the user who connects: for that moment we are the caller.
            self._peer = socket.socket(socket.AF_UNIX)
            os.setresgid(CALLER, CALLER, 0)
            os.setresuid(CALLER, CALLER, 0)
            try:
                self._peer.connect(self._path)
            finally:
                os.setresuid(0, 0, 0)
                os.setresgid(0, 0, 0)
            self._peer.settimeout(60)
        try:
            self._peer.sendall(frame)
            if oneway:
                self.close()
                return None
            answer = b""
            while not answer.endswith(b"\0"):
                part = self._peer.recv(262144)
                if not part:
                    assert not answer, "half an answer"
                    self.close()
                    return None
                answer += part
        except (BrokenPipeError, ConnectionResetError):
            self.close()
            return None
        assert answer.count(b"\0") == 1
        return answer[:-1]


def well_formed(answer: bytes) -> dict[str, Any]:
    def refuse(text: str) -> None:
        raise AssertionError(f"{text} in an answer")

    message: dict[str, Any] = json.loads(answer.decode("utf-8"), parse_constant=refuse)
    assert set(message) <= {"parameters", "error", "continues"} and isinstance(message.get("parameters"), dict)
    if "error" in message:
        assert re.fullmatch(r"[a-z]+(\.[a-zA-Z]+)+", message["error"]), message["error"]
    return message


def is_oneway(frame: bytes) -> bool:
    try:
        return bool(json.loads(frame[:-1].decode("utf-8")).get("oneway"))
    except (ValueError, AttributeError, RecursionError):
        return False


def test_nothing_runs_that_was_not_allowed_and_valid(helper: HelperProcess) -> None:
    noted, forbidden = helper.work / "noted", helper.work / "forbidden"
    noted.write_text("")
    number = {"number": {"type": "integer", "minimum": 1, "maximum": 9}}
    word = {"word": {"type": "enum", "values": ["on", "off"], "default": "on"}}
    write = ["/bin/sh", "-c", 'echo "$@" >>"$FILE"', "x"]
    capabilities = ["dac_override"]
    pid = helper.start(
        note={
            "argv": [*write, "{number}", "{word}"],
            "parameters": {**number, **word},
            "environment": {"FILE": str(noted)},
            "capabilities": capabilities,
        },
        roots={
            "argv": [*write, "{number}"],
            "parameters": number,
            "environment": {"FILE": str(forbidden)},
            "capabilities": capabilities,
            "allow": [],
        },
    )
    fuzzer, wire = Fuzzer(SEED), Wire(str(helper.socket))
    deadline = time.monotonic() + SECONDS
    sent = due = answered = 0
    oneway_due = repeats = 0
    while time.monotonic() < deadline or sent < LEAST:
        frame = fuzzer.frame()
        oneway, expected = is_oneway(frame), runs(frame)
        answer = wire.ask(frame, oneway)
        sent += 1
        due += expected
        oneway_due += expected and oneway
        if answer is None:
            continue
        message = well_formed(answer)
        if "exit" in message["parameters"]:
            assert expected, frame
            assert message["parameters"]["exit"] == 0
            answered += 1
            # The same id again is the same call: it is answered, and not run.
            repeats += b'"id"' in frame
    wire.close()
    assert procs.alive(pid), f"seed {SEED}, {sent} requests"
    lines = noted.read_text().splitlines()
    assert not forbidden.exists()
    assert all(re.fullmatch(r"[1-9] (on|off)", line) for line in lines)
    # Each that answered ran once, and nothing else did, but for those whose answer nobody waited for.
    assert answered - repeats <= len(lines) <= answered + oneway_due <= due + oneway_due
    assert sent > 50 and answered > 5
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        resident = next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))
    assert resident < 40 * 1024, f"seed {SEED}: {resident} KiB after {sent} requests"
    assert helper.call("note", number=1)["exit"] == 0


def test_definitions_of_any_shape_are_judged_without_falling_over() -> None:
    """What `--check` says of broken files are lines of text, and what it accepts can be used."""
    chance = random.Random(SEED)
    base = {
        "format": 1,
        "socket": "/run/x/s",
        "state_directory": "/run/x",
        "rate": {"calls": 5, "seconds": 1.0},
        "services": {"manager": "embedded", "scan_directory": "/etc/x", "users": {"a": "root"}},
        "operations": {
            "one": {
                "argv": ["/bin/echo", "{a}", "{b}", "{c}"],
                "parameters": {
                    "a": {"type": "integer", "minimum": 1, "maximum": 5, "default": 2},
                    "b": {"type": "address", "within": ["192.0.2.0/24"], "prefix": "optional"},
                    "c": {"type": "path", "within": "/srv", "create": "file"},
                },
                "allow": [{"user": "root"}, {"service": "a"}],
                "capabilities": ["net_admin"],
                "environment": {"A": "{a}"},
                "timeout": 5,
            }
        },
    }
    assert not schema.problems(base)
    deadline = time.monotonic() + min(SECONDS, 60) / 4
    accepted = refused = 0
    while time.monotonic() < deadline or accepted + refused < 3 * LEAST:
        document = json.loads(json.dumps(base))
        for _turn in range(chance.choice((1, 1, 2, 4))):
            place: Any = document
            while True:
                keys = list(place) if isinstance(place, dict) else list(range(len(place)))
                if not keys:
                    break
                key = chance.choice(keys)
                if isinstance(place[key], (dict, list)) and place[key] and chance.random() < 0.8:
                    place = place[key]
                    continue
                if chance.random() < 0.7 or isinstance(place, list):
                    place[key] = chance.choice(VALUES)
                else:
                    place[chance.choice(["argv", "allow", "type", "x", "within", "ready"])] = place.pop(key)
                break
        found = schema.problems(document)
        assert all(isinstance(line, str) and "\n" not in line for line in found)
        refused += bool(found)
        accepted += not found
    assert accepted > 5 and refused > 50
