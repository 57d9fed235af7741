# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 of the log writer at one instruction of its work after the other, and once more during the repair.

``HOLDFAST_CHAOS_STRIDE`` is the distance between two of these instructions (default 151, 1 for all of them).
"""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from log_tables import Table

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._logwriter import loop, spool

STRIDE = int(os.environ.get("HOLDFAST_CHAOS_STRIDE", "151"))
STAMP = 28
SIZE = 1500
HERE = ("/_logwriter/", "/_lean/")


def killed_at(instruction: int) -> Callable[[FrameType, str, Any], Any]:
    """A trace function that kills this process before its ``instruction``-th instruction in the log writer's code."""
    left = instruction

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        if not any(folder in frame.f_code.co_filename for folder in HERE):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


def work(table: Path, instruction: int | None) -> bool:
    """Repair, open all logs, and write what is in their FIFOs, in a process of its own; whether it came to the end."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if instruction is not None:
                sys.settrace(killed_at(instruction))
            directory = os.open(table, os.O_RDONLY | os.O_DIRECTORY)
            writer = loop.Loop(directory, spool.Spool(directory))
            writer.end()
            # With the end already asked for, this repairs, opens, drains and closes; the spool stays.
            writer.run()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _unused, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return status == 0


def prepared(top: Path) -> tuple[Table, list[bytes]]:
    """A table whose logs have much to write: chunks that end within lines, lines for several files, one huge line."""
    table = Table(top)
    chance = random.Random(7)
    lines = [b"%04d %s" % (number, b"x" * chance.randrange(120)) for number in range(60)]
    lines.insert(30, b"y" * 2 * SIZE)
    table.add("a", size=SIZE, count=1000)
    table.write("a", b"".join(line + b"\n" for line in lines))
    return table, lines


def result(table: Table) -> list[bytes]:
    assert all(file.name.endswith(".s") for file in table.rotated("a"))
    return table.lines("a", STAMP)


@pytest.mark.parametrize("chunk", [65536, 700], ids=["whole", "pieces"])
def test_no_instruction_is_a_bad_one_to_die_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(loop.Log, "_pump", _pump_of(chunk))
    instruction = random.randrange(STRIDE)
    kills = 0
    ended = False
    while not ended:
        top = tmp_path / str(instruction)
        table, lines = prepared(top)
        try:
            ended = work(table.path, instruction)
            if not ended:
                kills += 1
                # Most of the repair's instructions are the same ones again: a random one of them.
                work(table.path, random.randrange(instruction + 1))
                assert work(table.path, None)
            assert result(table) == lines, f"killed at instruction {instruction}"
        finally:
            table.close()
        instruction += STRIDE
    assert kills > 5
    print(f"{kills} instructions")


def test_no_message_is_lost_whatever_instruction_the_sender_dies_at(tmp_path: Path) -> None:
    """A message may come twice, if the end comes between sending it and writing that down; none gets lost."""
    lines = [b"message %d" % number for number in range(6)]
    instruction = random.randrange(STRIDE)
    ended = False
    while not ended:
        top = tmp_path / str(instruction)
        table = Table(top)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as receiver:
            receiver.bind(str(top / "socket"))
            table.add("a", to="syslog", socket=str(top / "socket"))
            table.write("a", b"".join(line + b"\n" for line in lines))
            try:
                deaths = 0
                got = []
                ended = work(table.path, instruction)
                got += received(receiver)
                if not ended:
                    deaths = 2 - work(table.path, random.randrange(instruction + 1))
                    got += received(receiver)
                    assert work(table.path, None)
                    got += received(receiver)
                once = [text for text, before in zip(got, [b"", *got]) if text != before]
                assert once == lines, f"killed at instruction {instruction}"
                assert len(got) <= len(lines) + deaths
            finally:
                table.close()
        instruction += STRIDE


def received(receiver: socket.socket) -> list[bytes]:
    """The texts of all datagrams that wait."""
    texts = []
    while True:
        try:
            texts.append(receiver.recv(1000).partition(b": ")[2])
        except BlockingIOError:
            return texts


def _pump_of(chunk: int) -> Callable[..., int]:
    """``Log._pump`` with smaller chunks, so that they end within lines."""
    original = loop.Log._pump

    def pump(self: Any, most: int = chunk) -> int:
        return int(original(self, most))

    return pump
