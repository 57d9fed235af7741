# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Descriptors that are put out of the way of a service's own numbers, with much room and with little."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._lease._guard.descriptors import lift
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.interface import LeaseError

LIMIT = 200


@pytest.fixture
def little_room() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


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
