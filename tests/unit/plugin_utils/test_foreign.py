# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lease drivers of other collections: what of them goes into the runtime, and what is refused on the controller."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from plain_imports import plain_imports

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import drivers, interface
from ansible_collections.holdfast.supervision.plugins.plugin_utils import foreign, pack

EXAMPLE = "example.locks.table"
PUBLIC = "ansible_collections.holdfast.supervision.plugins.module_utils.lease_driver"
#: Everything that a driver has to have, and nothing that it does.
WHOLE = f"""\
from {PUBLIC} import Driver
class LeaseDriver(Driver):
    name = "NAME"
    api = (1, 0)
    capabilities = frozenset()
    load = classmethod(lambda cls, core_api, features: None)
    probe = register = acquire = bind = prepare_line = leave_line = forget = line_up = lambda self, *_: None
    release = held = owners = free = lambda self, *_: None
"""

Make = Callable[..., str]


@pytest.fixture(autouse=True)
def python_imports() -> Iterator[None]:
    with plain_imports():
        yield


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes a collection with one driver and gives the driver's name; files: by their names below module_utils."""
    above = sys.modules["ansible_collections"].__path__
    above.append(str(tmp_path))

    def one(source: str, **files: str) -> str:
        namespace = f"n{uuid.uuid4().hex}"
        folder = tmp_path / namespace / "coll" / "plugins" / "module_utils"
        folder.mkdir(parents=True)
        name = f"{namespace}.coll.drv"
        (folder / "drv.py").write_text(source.replace("NAME", name).replace("NAMESPACE", namespace))
        for path, text in files.items():
            (folder / f"{path}.py").write_text(text)
        return name

    yield one
    above.remove(str(tmp_path))


def test_what_a_driver_is_made_of_goes_into_the_runtime_with_imports_that_hold_there() -> None:
    found = foreign.files_of([EXAMPLE])
    folder = "holdfast/_foreign"
    assert set(found) == {
        f"{folder}/__init__.py",
        f"{folder}/example/__init__.py",
        f"{folder}/example/locks/__init__.py",
        f"{folder}/example/locks/table.py",
        f"{folder}/example/locks/tables.py",
    }
    text = found[f"{folder}/example/locks/table.py"].decode()
    assert "from ....lease_driver import (" in text
    assert "from .tables import TABLES" in text
    assert not any("ansible_collections" in line for line in text.splitlines() if "import" in line)


def test_a_runtime_with_a_driver_is_another_version() -> None:
    assert pack.Runtime().version != pack.Runtime(lease_drivers=[EXAMPLE]).version
    assert pack.Runtime(lease_drivers=[EXAMPLE]).version == pack.Runtime(lease_drivers=[EXAMPLE, EXAMPLE]).version


def test_what_it_imports_of_its_own_collection_goes_along(make: Make) -> None:
    own = "from ansible_collections.{0}.coll.plugins.module_utils"
    name = make(WHOLE + "from . import near\n", near="import json\nfrom .far import x\n", far="x = 1\n")
    found = foreign.files_of([name])
    assert sorted(path.rpartition("/")[2] for path in found if not path.endswith("__init__.py")) == [
        "drv.py",
        "far.py",
        "near.py",
    ]
    namespace = name.partition(".")[0]
    name = make(WHOLE)
    absolute = f"{own.format(namespace)}.far import x\n"
    with pytest.raises(foreign.Unshippable, match="line 1: from ansible_collections"):
        foreign.files_of([make(f"{absolute}{WHOLE}")])


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("import yaml", "line 1: import yaml cannot be had on a host"),
        ("from ansible.module_utils.basic import AnsibleModule", "line 1: from ansible.module_utils.basic"),
        (
            "from ansible_collections.holdfast.supervision.plugins.module_utils._lease import core",
            "module_utils._lease cannot be had",
        ),
    ],
)
def test_what_no_host_has_is_refused_with_file_and_line(make: Make, line: str, text: str) -> None:
    name = make(f"{line}\n{WHOLE}")
    with pytest.raises(foreign.Unshippable) as caught:
        foreign.files_of([name])
    assert text in str(caught.value)
    assert f"driver {name}: drv.py" in str(caught.value)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (WHOLE.replace("(1, 0)", "(2, 0)"), "is made for version 2.0"),
        (WHOLE.replace("(1, 0)", "(1, 99)"), "is made for version 1.99"),
        (WHOLE.replace("frozenset()", "frozenset({'teleport'})"), "teleport"),
        (WHOLE.replace('"NAME"', '"somebody.else.drv"'), "it calls itself somebody.else.drv"),
        (WHOLE.replace("class LeaseDriver", "class Other"), "no class LeaseDriver"),
        (WHOLE.replace("owners = ", ""), "it lacks owners"),
        ("raise OSError('broken')", "OSError: broken"),
        ("import nothing_of_that_name", "No module named 'nothing_of_that_name'"),
    ],
)
def test_a_driver_that_does_not_fit_is_refused_before_it_is_sent(make: Make, source: str, text: str) -> None:
    with pytest.raises(foreign.Unshippable) as caught:
        foreign.files_of([make(source)])
    assert text in str(caught.value)


@pytest.mark.parametrize("name", ["no.such.driver", "example.locks.none"])
def test_a_driver_that_is_not_there_is_not_found(name: str) -> None:
    with pytest.raises(interface.DriverNotFound, match="supervisor_lease_drivers"):
        drivers.load(name)
    with pytest.raises(foreign.Unshippable, match="supervisor_lease_drivers"):
        foreign.files_of([name])


@pytest.mark.parametrize("name", ["etcd", "a.b", "a.b.c.d", "a.b.C", "../a.b.c", ""])
def test_what_is_no_name_of_one_is_refused(name: str) -> None:
    with pytest.raises(foreign.Unshippable, match=r"namespace\.collection\.driver"):
        foreign.files_of([name])


def test_a_driver_that_fails_to_load_is_told_apart_from_one_that_is_not_there(make: Make) -> None:
    name = make("raise OSError('broken')")
    with pytest.raises(interface.DriverNotLoaded, match="OSError: broken"):
        drivers.load(name)
