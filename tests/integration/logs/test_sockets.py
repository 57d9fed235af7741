# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs that go to syslog or journald instead of files."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from log_tables import Table
from waiting import wait_until


class Receiver:
    """A syslog or journald that keeps what it gets."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.messages: list[bytes] = []
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def bind(self) -> None:
        """Be there, without taking anything yet."""
        self.path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))

    def listen(self) -> None:
        """Be there and take messages."""
        if self._socket is None:
            self.bind()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        assert self._socket is not None
        while True:
            message = self._socket.recv(1 << 20)
            if message == b"end":
                return
            self.messages.append(message)

    def close(self) -> None:
        """Go away."""
        if self._thread is not None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.connect(str(self.path))
                sender.send(b"end")
            self._thread.join()
            self._thread = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self.path.unlink(missing_ok=True)

    def texts(self) -> list[bytes]:
        """The messages without what stands before the service's own text."""
        if self.messages[:1] and self.messages[0].startswith(b"<"):
            return [message.split(b": ", 1)[1] for message in self.messages]
        return [message.split(b"\nMESSAGE=", 1)[1].rstrip(b"\n") for message in self.messages]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    made = Receiver(tmp_path / "receiver")
    yield made
    made.close()


def numbered(count: int) -> list[bytes]:
    return [b"%06d %s" % (number, b"x" * (number % 100)) for number in range(count)]


def test_syslog_gets_a_datagram_per_line(table: Table, receiver: Receiver) -> None:
    receiver.listen()
    table.add("web", to="syslog", socket=str(receiver.path))
    table.start()
    table.write("web", b"one\ntwo two\n\nthr")
    table.write("web", b"ee\n")
    wait_until(lambda: len(receiver.messages) == 3)
    assert receiver.texts() == [b"one", b"two two", b"three"]
    assert re.fullmatch(rb"<30>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d web: one", receiver.messages[0])


def test_journald_gets_its_native_protocol(table: Table, receiver: Receiver) -> None:
    receiver.listen()
    table.add("web", to="journald", socket=str(receiver.path))
    table.start()
    table.write("web", b"one\n=two=\n")
    wait_until(lambda: len(receiver.messages) == 2)
    fields = dict(line.split(b"=", 1) for line in receiver.messages[1].splitlines())
    assert fields[b"MESSAGE"] == b"=two="
    assert fields[b"SYSLOG_IDENTIFIER"] == b"web"
    assert fields[b"PRIORITY"] == b"6"


def test_a_receiver_that_comes_late_gets_everything(table: Table, receiver: Receiver) -> None:
    table.add("web", to="syslog", socket=str(receiver.path))
    table.start()
    lines = numbered(2000)
    table.write("web", b"".join(line + b"\n" for line in lines))
    wait_until(lambda: table.waiting("web") == 0)
    receiver.listen()
    wait_until(lambda: len(receiver.messages) == len(lines))
    assert receiver.texts() == lines
    table.write("web", b"more\n")
    wait_until(lambda: len(receiver.messages) == len(lines) + 1)
    queue = table.path / "queue" / "web"
    wait_until(lambda: queue.stat().st_size < 100, message="the queue is emptied when everything is sent")


def test_a_burst_waits_for_a_slow_receiver_instead_of_getting_lost(table: Table, receiver: Receiver) -> None:
    receiver.bind()
    table.add("web", to="syslog", socket=str(receiver.path))
    table.start()
    lines = numbered(30_000)
    service = table.beside(table.write, "web", b"".join(line + b"\n" for line in lines))
    queue = table.path / "queue" / "web"
    wait_until(lambda: queue.exists() and queue.stat().st_size > 400_000)
    receiver.listen()
    service.result()
    wait_until(lambda: len(receiver.messages) == len(lines))
    assert receiver.texts() == lines
    assert table.stats("web") == {}


def test_a_receiver_that_is_not_there_costs_counted_lines(table: Table, receiver: Receiver) -> None:
    table.add("web", to="syslog", socket=str(receiver.path))
    table.start()
    lines = numbered(30_000)
    table.write("web", b"".join(line + b"\n" for line in lines))
    wait_until(lambda: table.stats("web").get("lost_lines", 0) > 0)
    wait_until(lambda: table.waiting("web") == 0)
    assert table.stats("web")["error"] == "No such file or directory"
    receiver.listen()

    def told() -> bool:
        table.write("web", b"later\n")
        return any(b" lost: " in text for text in list(receiver.texts()))

    wait_until(told)
    wait_until(lambda: receiver.texts()[-1] == b"later")
    (note,) = (text for text in receiver.texts() if b" lost: " in text)
    lost = int(note.split()[1])
    known = set(lines)
    sent = [text for text in receiver.texts() if text in known]
    later = receiver.texts().count(b"later")
    assert later > 0
    assert len(sent) + lost >= len(lines)
    assert sent == lines[: len(sent)]


def test_a_very_long_line_comes_in_pieces(table: Table, receiver: Receiver) -> None:
    receiver.listen()
    table.add("web", to="syslog", socket=str(receiver.path))
    table.start()
    table.write("web", b"x" * 100_000 + b"\nshort\n")
    wait_until(lambda: receiver.texts()[-1:] == [b"short"])
    assert b"".join(receiver.texts()[:-1]) == b"x" * 100_000


def test_an_unterminated_line_is_sent_at_the_end(table: Table, receiver: Receiver) -> None:
    receiver.listen()
    table.add("web", to="journald", socket=str(receiver.path))
    table.start()
    table.write("web", b"one\npart")
    wait_until(lambda: receiver.messages)
    assert table.stop() == 0
    assert receiver.texts() == [b"one", b"part"]
    assert not (table.path / "queue" / "web").exists()


def test_kill_9_loses_no_message(table: Table, receiver: Receiver) -> None:
    receiver.listen()
    table.add("web", to="syslog", socket=str(receiver.path))
    lines = numbered(20_000)
    service = table.beside(table.write, "web", b"".join(line + b"\n" for line in lines))
    kills = 0
    for share in (1000, 2000, 5000, 9000, 15_000):
        table.start()
        wait_until(lambda: len(receiver.messages) > share)  # noqa: B023
        table.kill()
        kills += 1
    table.start()
    service.result()
    wait_until(lambda: receiver.texts()[-1] == lines[-1])
    texts = receiver.texts()
    without_doubles = [text for text, before in zip(texts, [b"", *texts]) if text != before]
    assert without_doubles == lines
    assert len(texts) - len(lines) <= kills


def test_a_log_changes_between_directory_and_syslog(table: Table, receiver: Receiver) -> None:
    receiver.listen()
    in_use = table.current("web")

    def to_directory() -> None:
        table.add("web", tell=True)
        wait_until(lambda: in_use.exists() and not os.access(in_use, os.X_OK))

    def to_syslog() -> None:
        table.add("web", tell=True, to="syslog", socket=str(receiver.path))
        wait_until(lambda: os.access(in_use, os.X_OK))

    table.start()
    for number, change in enumerate((to_directory, to_syslog, to_directory)):
        change()
        text = b"line %d" % number
        table.write("web", text + b"\n")
        wait_until(lambda: text in table.text("web") + b"".join(receiver.texts()))  # noqa: B023
    assert table.lines("web") == [b"line 0", b"line 2"]
    assert receiver.texts() == [b"line 1"]
