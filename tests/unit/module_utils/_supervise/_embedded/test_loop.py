# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The event loop: timers, and nothing to do means asleep."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._embedded import loop as loops


@pytest.fixture
def loop() -> Iterator[loops.Loop]:
    made = loops.Loop()
    yield made
    signal.set_wakeup_fd(-1)


def _run(loop: loops.Loop) -> None:
    def end() -> None:
        loop.running = False

    loop.later(0.05, end)
    loop.run()


def test_timers_come_in_their_order(loop: loops.Loop) -> None:
    seen: list[str] = []
    loop.later(0.02, lambda: seen.append("second"))
    loop.later(0.01, lambda: seen.append("first"))
    _run(loop)
    assert seen == ["first", "second"]


def test_a_cancelled_timer_does_nothing(loop: loops.Loop) -> None:
    seen: list[str] = []
    timer = loop.later(0.01, lambda: seen.append("called"))
    timer.cancel()
    timer.cancel()
    _run(loop)
    assert seen == []


def test_a_timer_may_be_months_away(loop: loops.Loop) -> None:
    reader, writer = os.pipe()
    loop.later(90 * 86400.0, lambda: None)
    loop.watch(reader, lambda _events: setattr(loop, "running", False))
    os.write(writer, b"x")
    loop.run()
    os.close(reader)
    os.close(writer)


def test_a_descriptor_that_is_forgotten_in_the_same_turn_is_not_called(loop: loops.Loop) -> None:
    seen: list[int] = []
    pipes = [os.pipe() for _unused in range(2)]

    def read(own: int) -> None:
        seen.append(own)
        for reader, _writer in pipes:
            if reader != own:
                loop.forget(reader)

    for reader, writer in pipes:
        loop.watch(reader, lambda _events, own=reader: read(own))  # type: ignore[misc]
        os.write(writer, b"x")
    loop.later(0.0, lambda: setattr(loop, "running", False))
    loop.run()
    assert len(seen) == 1
    for reader, writer in pipes:
        os.close(reader)
        os.close(writer)


def test_what_is_asked_for_soon_comes_in_the_next_turn(loop: loops.Loop) -> None:
    seen: list[str] = []
    loop.soon(lambda: (seen.append("one"), loop.soon(lambda: seen.append("two"))))  # type: ignore[func-returns-value]
    _run(loop)
    assert seen == ["one", "two"]


def test_a_signal_is_handled_in_the_loop() -> None:
    # In a process of its own: the test runner's signals stay its own.
    from ansible_collections.holdfast.supervision.plugins.module_utils import _supervise

    top = os.path.dirname(os.path.dirname(_supervise.__file__))
    program = f"""
        import os, signal, sys
        sys.path.insert(0, {os.path.dirname(top)!r})
        from module_utils._supervise._embedded.loop import Loop
        loop = Loop()
        def heard():
            print("heard")
            loop.running = False
        loop.on_signal(signal.SIGUSR1, heard)
        os.kill(os.getpid(), signal.SIGUSR1)
        loop.run()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "heard\n"
