# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Descriptors that are put out of the way of a service's own numbers, with much room and with little."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from typing import cast

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._lease._guard.descriptors import lift
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._guard.guard import Guard
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._guard.tokens import TokenFile
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._guard.watching import Watching
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.interface import LeaseError

LIMIT = 200


@pytest.fixture
def little_room() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def no_room(little_room: None) -> Iterator[None]:
    """All numbers are taken that a descriptor could be put under."""
    taken = [os.dup2(0, number) for number in range(LIMIT - 24, LIMIT)]
    yield
    for descriptor in taken:
        os.close(descriptor)


def opened() -> set[int]:
    """The descriptors that are open, but for the one that this is read by."""
    found = os.listdir("/proc/self/fd")
    return {int(one) for one in found if os.path.lexists(f"/proc/self/fd/{one}")}


def lifted(least: int = 0) -> int:
    made = lift(0, least)
    os.close(made)
    return made


def test_with_room_it_is_far_above_what_services_ask_for() -> None:
    assert lifted() >= 300
    assert lifted(500) >= 500


@pytest.mark.usefixtures("little_room")
def test_with_little_room_it_is_as_high_as_that_allows() -> None:
    assert 100 < lifted() < LIMIT
    assert LIMIT - 10 <= lifted(LIMIT - 10) < LIMIT


@pytest.mark.usefixtures("little_room")
def test_without_room_the_limit_is_named() -> None:
    with pytest.raises(LeaseError, match=rf"limit of open files \(nofile, {LIMIT}\).* above {LIMIT + 1}"):
        lifted(LIMIT + 1)


@pytest.mark.usefixtures("no_room")
def test_a_token_file_for_which_there_is_no_room_leaves_nothing_open() -> None:
    before = opened()
    with pytest.raises(LeaseError, match="limit of open files"):
        TokenFile().write(b"r 1\n")
    assert opened() == before


def test_a_reader_of_tokens_for_which_there_is_no_room_leaves_nothing_open(request: pytest.FixtureRequest) -> None:
    tokens = TokenFile()
    tokens.write(b"r 1\n")
    request.getfixturevalue("no_room")
    before = opened()
    with pytest.raises(LeaseError, match="limit of open files"):
        tokens.pass_to({})
    assert opened() == before


@pytest.mark.usefixtures("no_room")
@pytest.mark.parametrize("settings", [({"notification_fd": 3}, None), ({}, {"heartbeat_fd": 3})])
def test_a_pipe_for_which_there_is_no_room_leaves_nothing_open(
    settings: tuple[dict[str, int], dict[str, int] | None],
) -> None:
    before = opened()
    with pytest.raises(LeaseError, match="limit of open files"):
        Watching(cast(Guard, None), *settings).prepare()
    assert opened() == before
