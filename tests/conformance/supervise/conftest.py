# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One set of behaviours for all backends: every test runs once for each of them, on its real daemons.

A test marked with `features(...)` runs on the backends that declare all of them. With HOLDFAST_CONFORMANCE=FOLDER each
process of a run writes what it ran there, for scripts/backends_page.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conformance_classes import CLASSES
from conforming import Supervised


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kind" not in metafunc.fixturenames or "feature" in metafunc.fixturenames:
        return
    mark = metafunc.definition.get_closest_marker("features")
    asked = set(mark.args if mark else ())
    kinds = [kind for kind in CLASSES if asked <= kind.type().capabilities]
    metafunc.parametrize("kind", kinds, ids=[kind.title for kind in kinds], scope="session")


@contextlib.contextmanager
def _prepared(kind: type[Supervised], runtime: Path) -> Iterator[Supervised]:
    base = Path(tempfile.mkdtemp(prefix="hf-conform-"))
    base.chmod(0o755)
    host = kind(runtime, base)
    try:
        host.prepare()
        yield host
    finally:
        host.close()
        shutil.rmtree(base)


@pytest.fixture
def bare(kind: type[Supervised], runtime: Path, request: pytest.FixtureRequest) -> Iterator[Supervised]:
    """A host whose supervisor does not run yet."""
    name = request.node.originalname
    reason = kind.missing() or kind.lacks.get(name, "")
    if reason:
        pytest.skip(reason)
    with _prepared(kind, runtime) as host:
        yield host


@pytest.fixture(scope="session")
def standing(runtime: Path) -> Iterator[Callable[[type[Supervised]], Supervised]]:
    """Give the host of a backend that all tests of this process share which change nothing on it."""
    with contextlib.ExitStack() as all_hosts:
        hosts: dict[str, Supervised] = {}

        def get(kind: type[Supervised]) -> Supervised:
            if kind.missing():
                pytest.skip(kind.missing())
            if kind.title not in hosts:
                hosts[kind.title] = all_hosts.enter_context(_prepared(kind, runtime))
                hosts[kind.title].start()
            return hosts[kind.title]

        yield get


@pytest.fixture
def host(bare: Supervised) -> Supervised:
    """A host whose supervisor has nothing to do."""
    bare.start()
    return bare


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Note each behaviour that was shown."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    folder = os.environ.get("HOLDFAST_CONFORMANCE")
    kind = getattr(item, "callspec", None) and item.callspec.params.get("kind")  # type: ignore[attr-defined]
    if not folder or kind is None or report.when != "call" or not report.passed:
        return
    mark = item.get_closest_marker("features")
    noted = {
        "backend": kind.backend,
        "title": kind.title,
        "by_hand": kind.by_hand,
        "behaviour": item.originalname,  # type: ignore[attr-defined]
        "features": sorted(mark.args) if mark else [],
        "refused": item.callspec.params.get("feature"),  # type: ignore[attr-defined]
    }
    with (Path(folder) / f"{os.getpid()}.jsonl").open("a") as file:
        file.write(json.dumps(noted, sort_keys=True) + "\n")
