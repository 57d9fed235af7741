# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets in free text."""

from __future__ import annotations

import re

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._plan.mask import MASK, Mask


def test_long_values_are_covered_wherever_they_are() -> None:
    assert Mask(["correct horse"]).text("xcorrect horsex") == f"x{MASK}x"


def test_short_values_are_covered_where_they_stand_alone() -> None:
    mask = Mask(["up", "1"])
    assert mask.text("group up 1 21 supervisor") == f"group {MASK} {MASK} 21 supervisor"


def test_the_longer_of_two_is_covered_first() -> None:
    assert Mask(["secret", "secret-longer"]).text("secret-longer secret") == f"{MASK} {MASK}"


def test_a_run_that_shows_nothing_has_nothing_to_do_with_many_long_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    compiled = re.compile
    with monkeypatch.context() as patch:
        patch.setattr(re, "compile", lambda text: made.append(text) or compiled(text))
        mask = Mask(["secret"]).also(["another"])
        assert made == []
        assert [mask.text("secret another") for _time in range(2)] == [f"{MASK} {MASK}"] * 2
    assert len(made) == 1


def test_nothing_to_cover() -> None:
    assert Mask().text("text") == "text"
    assert Mask(["", " "]).text("a b") == "a b"


def test_values_are_no_patterns() -> None:
    assert Mask(["a.*b.*c"]).text("aXbXc a.*b.*c") == f"aXbXc {MASK}"


def test_a_value_is_covered_line_by_line_too_since_logs_are_lines() -> None:
    mask = Mask(["-----BEGIN KEY-----\n  c2VjcmV0\n}\n", "with a newline\n"])
    shown = [mask.text(line) for line in ("it is c2VjcmV0", "with a newline", "}")]
    assert shown == [f"it is {MASK}", MASK, "}"]


def test_a_value_is_covered_where_a_script_quotes_it() -> None:
    assert Mask(["it's me\n"]).text("export A='it'\\''s me'") == f"export A='{MASK}'"
