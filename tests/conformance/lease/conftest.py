# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures: every store, and drivers that are closed afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from leasing import Store, stores

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import interface

Make = Callable[..., interface.Driver]


@pytest.fixture(scope="module", params=stores())
def running(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A store, for all tests of a module."""
    made = stores()[request.param]()
    yield made
    made.close()


@pytest.fixture
def store(running: Store) -> Store:
    """A store in which nothing is."""
    running.fresh()
    return running


@pytest.fixture
def make(store: Store) -> Iterator[Make]:
    """Makes drivers that have registered *resources*: names, with :shared behind those that are to be shared."""
    made: list[interface.Driver] = []

    def one(tenant: str, *resources: str, **parameters: Any) -> interface.Driver:
        driver = store.driver()(tenant, {**store.parameters(), **parameters})
        driver.probe()
        for resource in resources:
            name, _colon, mode = resource.partition(":")
            driver.register(name, mode or interface.EXCLUSIVE_MODE)
        made.append(driver)
        return driver

    yield one
    for driver in made:
        with contextlib.suppress(interface.LeaseError):
            driver.release()
        driver.free()
