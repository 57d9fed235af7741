# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""JSON that strangers send, and that functions give: what is no JSON, or none that may be, is an error and nothing worse."""

from __future__ import annotations

import json as full_json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._lean import json

BROKEN = [
    *("", " ", "x", "{", "[", '"', '"\x01"', '{"a":', '{"a" 1}', '{"a":1,}', "[1,]", "[1 2]", "01", "1.", "+1", "nul"),
    *('{"a":1} x', "[1]]", "'a'", "{a:1}", '"\\x"', '"\\u12"', "\ufeff1", "-", "1e", "[1]\0", "\0", "NaNs"),
]


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1.5,
        1e300,
        "",
        '\u00e9\U0001f600\u2028\\"\n\x00',
        [],
        {},
        {"a": [1, {"b": None}], "\u00e9": 1.5},
        {"x" * 100: ["y"] * 50},
    ],
)
def test_it_reads_and_writes_what_json_does(value: Any) -> None:
    whole = full_json.dumps(value)
    for text in (whole, full_json.dumps(value, ensure_ascii=False, indent=1), f" {whole}\n"):
        assert json.loads(text) == value
    assert json.dumps(value) == whole


@pytest.mark.parametrize("text", BROKEN, ids=repr)
def test_what_is_no_json_is_an_error_that_says_why(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        json.loads(text)


@pytest.mark.parametrize("text", BROKEN, ids=repr)
def test_what_is_no_json_is_an_error_and_loads_nothing(text: str) -> None:
    """The reader itself has no words of its own for that, and some Pythons load all of `json` for them."""
    with pytest.raises(ValueError):
        full_json.loads(text)
    code = f"""
import sys
sys.path.insert(0, {str(Path(json.__file__).parents[1])!r})
from _lean import json
try:
    json.reader(words=False)(sys.argv[1].replace("NUL", chr(0)))
except ValueError:
    sys.exit(7 + ((3, 10) <= sys.version_info < (3, 12) and "re" in sys.modules))
"""
    command = [sys.executable, "-I", "-S", "-c", code, text.replace("\0", "NUL")]
    assert subprocess.run(command, check=False).returncode == 7


def test_it_is_one_where_json_is_not_there_any_more() -> None:
    """As after an upgrade of Python on the host, for a program that goes on."""
    code = f"""
import sys
sys.path.insert(0, {str(Path(json.__file__).parents[1])!r})
from _lean import json
sys.path.clear()
for text in {BROKEN!r}:
    for read in (json.loads, json.reader(words=False)):
        try:
            read(text)
        except ValueError:
            continue
        raise AssertionError(text)
"""
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


def test_a_value_that_contains_itself_is_an_error_each_time() -> None:
    write = json.writer(checked=True)
    ring: list[Any] = []
    ring.append(ring)
    for _time in range(2):
        with pytest.raises(ValueError, match="Circular"):
            write(ring)
        assert write([[1], [1]]) == "[[1], [1]]"
    with pytest.raises(RecursionError):
        json.dumps(ring)


def test_no_number_may_be_refused() -> None:
    with pytest.raises(ValueError):
        json.writer(allow_nan=False)([float("nan")])


def test_a_value_that_is_too_deep_is_an_error_of_its_own() -> None:
    with pytest.raises(RecursionError):
        json.reader(words=False)("[" * 1000000)


def test_a_python_that_asks_for_one_hook_more_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    make_scanner = json.make_scanner

    def of_3_15(rules: Any) -> Any:
        assert rules.array_hook is None
        return make_scanner(rules)

    monkeypatch.setattr(json, "make_scanner", of_3_15)
    assert json.reader()("[1]") == [1]
