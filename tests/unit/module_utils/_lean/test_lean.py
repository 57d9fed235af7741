# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in for modules of Python in programs that stay: it does the same, and loads none of them."""

from __future__ import annotations

import json as full_json
import signal as full_signal
import subprocess
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._lean import json, libc, records, signal

MODULE_UTILS = Path(__file__).parents[4] / "plugins" / "module_utils"
VALUES: list[Any] = [
    {},
    [],
    None,
    True,
    0,
    -1.5,
    2**70,
    "",
    'a "quoted" \\ text\n\u00e4\U0001f600',
    {"a": [1, {"b": [None, False, "c"]}], "": {}},
    float("inf"),
]


@pytest.mark.parametrize("value", VALUES)
def test_texts_are_those_of_json(value: Any) -> None:
    assert json.dumps(value) == full_json.dumps(value)
    assert json.dumps(value, separators=(",", ":"), sort_keys=True) == full_json.dumps(
        value, separators=(",", ":"), sort_keys=True
    )
    for text in (full_json.dumps(value), full_json.dumps(value, indent=2), f" \t\r\n{full_json.dumps(value)}\n"):
        assert json.loads(text) == json.loads(text.encode()) == value


@pytest.mark.parametrize(
    "text", ["", " ", "{", "[1,", '"', "x", "1 2", '{"a": 1}}', "{1: 2}", "[1]\0", "\u00a01", "\ufeff1"]
)
def test_what_is_no_json_is_refused_in_the_words_of_json(text: str) -> None:
    with pytest.raises(ValueError) as wanted:
        full_json.loads(text)
    with pytest.raises(ValueError) as raised:
        json.loads(text)
    assert str(raised.value) == str(wanted.value)


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(TypeError, match="Object of type set is not JSON serializable"):
        json.dumps({"a": set()})


def test_numbers_and_names_can_be_had_otherwise() -> None:
    read = json.reader(parse_int=lambda text: f"whole {text}", parse_constant=lambda text: f"named {text}")
    assert read('[1, "1", NaN, 1.0]') == ["whole 1", "1", "named NaN", 1.0]


def test_without_the_parts_in_c_json_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "make_scanner", None)
    monkeypatch.setattr(json, "make_encoder", None)
    assert json.reader(parse_int=lambda _text: "whole")(" [1] ") == ["whole"]
    assert json.writer((",", ":"), True)({"b": 1, "a": [2]}) == '{"a":[2],"b":1}'


def test_signals_have_the_numbers_and_names_that_they_have() -> None:
    assert (signal.SIGKILL, signal.SIGRTMIN, signal.SIG_BLOCK) == (9, full_signal.SIGRTMIN, full_signal.SIG_BLOCK)
    for one in full_signal.Signals:
        assert signal.name_of(int(one)) == one.name
        assert signal.number_of(one.name) == signal.number_of(one.name.removeprefix("SIG").lower()) == one
    assert signal.name_of(4711) == "4711"
    assert signal.number_of("BLOCK") == signal.number_of("_BLOCK") == signal.number_of("NONE") == 0


def test_records_are_tuples_whose_fields_have_names() -> None:
    given = ("Point", "x y z"), {"defaults": (1, 2)}
    ours: Any = records.namedtuple(*given[0], **given[1])
    theirs: Any = namedtuple(*given[0], **given[1])
    for kind in (ours, theirs):
        point = kind(7, z=9)
        assert (point.x, point.y, point.z, tuple(point), repr(point)) == (7, 1, 9, (7, 1, 9), "Point(x=7, y=1, z=9)")
        assert point._replace(y=3) == (7, 3, 9) and isinstance(point._replace(y=3), kind)
        with pytest.raises(AttributeError):
            point.x = 1
        for values, named in (((), {}), ((1, 2, 3, 4), {}), ((1,), {"w": 2}), ((1,), {"x": 2})):
            with pytest.raises(TypeError):
                kind(*values, **named)


def test_functions_of_the_c_library_leave_their_errors() -> None:
    library = libc.Library()
    assert library.function("getpid")() > 0
    assert library.find("no_such_function") is None
    with pytest.raises(OSError, match="no_such_function"):
        library.function("no_such_function")
    with pytest.raises(OSError, match="closing: Bad file descriptor"):
        libc.check(library.function("close")(-1), "closing")
    with pytest.raises(OSError):
        libc.Library("no-such-library.so")


#: What is too much for a program that stays.
TOO_MUCH = (
    "json",
    "re",
    "enum",
    "ctypes",
    "socket",
    "signal",
    "functools",
    "collections",
    "contextlib",
    "runpy",
    "typing",
)
DRIVERS = ("file", "nfs", "etcd", "sanlock")


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_guard_loads_nothing_that_it_has_no_use_for(driver: str, tmp_path: Path) -> None:
    (tmp_path / "holdfast").symlink_to(MODULE_UTILS)
    (tmp_path / "__main__.py").write_text(LOADED.format(driver=driver, wanted=TOO_MUCH))
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-S", "-B", str(tmp_path)], check=False, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


LOADED = """
import sys
from holdfast._lean import start
start.forget()
from holdfast._lease._guard import daemon
from holdfast._lease import {driver}
print([name for name in {wanted!r} if name in sys.modules])
"""
