# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures: every store, and drivers that are closed afterwards.

Whoever writes a driver says which one is meant, see docs/lease-drivers.md.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from leasing import Store, foreign, stores

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import interface

Make = Callable[..., interface.Driver]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("lease drivers")
    group.addoption("--lease-driver", default="", help="test the driver namespace.collection.driver and no other")
    group.addoption("--lease-parameters", default="{}", help="its parameters as JSON; {unique} differs in each test")
    group.addoption(
        "--lease-store", default="", help="module:Class, a Store of leasing.py for it, instead of parameters"
    )


def _stores(config: pytest.Config) -> dict[str, type[Store]]:
    store = config.getoption("--lease-store", "")
    driver = config.getoption("--lease-driver", "")
    if store:
        module, _colon, name = store.partition(":")
        return {name: getattr(importlib.import_module(module), name)}
    if driver:
        return {driver: foreign(driver, config.getoption("--lease-parameters"))}
    return stores()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "running" in metafunc.fixturenames:
        metafunc.parametrize("running", _stores(metafunc.config), indirect=True, scope="module")


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A store, for all tests of a module."""
    made = _stores(request.config)[request.param]()
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
