# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The judge of histories: what it is content with, and what it sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fenced
import pytest
from guarded import overlaps
from histories import figures, violations


def test_the_judge_is_content_with_one_holder_after_the_other() -> None:
    assert violations(_history("g1 b1 b1 -1 g2 b2 b2 -2")) == []


@pytest.mark.parametrize(
    ("told", "complaint"),
    [
        ("g1 b1 b2 b1", "beat until"),
        ("g1 b1 g2 b1", "after 2 was granted"),
        ("g1 b1 g2 b2 b1", "wrote at"),
        ("g2 b2 -2 g1 b1", "was granted after"),
        ("g1 b1 -1 g1", "was granted after"),
        ("g1 b1 -1 b1", "the store had it no more"),
        ("g1 b1 -1 b3", "was not granted"),
        ("g1 b1 p1 b1", "that it stood still"),
        ("g1 v1 b1 b1", "was good until"),
        ("g1 v1 v1 v1 b1 f0 b1", "was good until"),
        ("g1 b1 w1 g2 b2 w2 w1", "sent with token 1 was stored"),
        ("g1 b1 w1 g2 b2 w2 r2", "sent with token 2 was refused"),
        ("g1 s1 g2 b2 s1", "beat until"),
        ("g1 b1 g2 s2 b1", "beat until"),
        ("g1 s1 g2 s2 g3 b3 -3 s1", "wrote at"),
        ("g1 s1 g2 s2 -1 s1", "the store had it no more"),
        ("g1 s1 g2 s2 g3 b3 s2", "after 3 was granted"),
    ],
)
def test_the_judge_sees(told: str, complaint: str) -> None:
    assert any(complaint in found for found in judged(told))


def test_the_judge_forgives_what_ended_early_and_not_what_was_given_back() -> None:
    history = _history("g1 b1 -1 b1")
    assert violations(history, early=1.0) == []
    history[2]["released"] = True
    assert violations(history, early=1.0)


def test_the_judge_lets_a_paused_one_go_on() -> None:
    assert violations(_history("g1 b1 p1 p1 f0 b1 b1 -1 g2 b2")) == []


def test_the_judge_lets_a_renewed_one_go_on() -> None:
    assert violations(_history("g1 v1 b1 v1 b1 v1 b1 -1 g2 v2 b2")) == []


def test_the_judge_lets_a_store_refuse_what_is_late() -> None:
    assert judged("g1 b1 w1 w1 g2 w1 b2 w2 r1 w2") == []


def test_a_store_that_looks_at_no_token_is_seen() -> None:
    history = [
        {"at": at * 10**8, "event": "beat", "token": at // 10 + 1, "name": "ab"[at // 10 % 2]} for at in range(200)
    ]
    told = fenced.carried(history, 1)
    assert figures(told)["refused"] > 0
    assert violations(told) == []
    careless = fenced.ledger().replace(" WHERE token <= :token", "")
    assert any("was stored" in found for found in violations(fenced.carried(history, 1, text=careless)))


def test_the_judge_lets_those_who_share_be_there_together() -> None:
    assert judged("g1 s1 g2 s2 s1 s2 -2 s1 -1 g3 b3 -3 g4 g5 s5 g6 s6 s5") == []


def judged(told: str) -> list[str]:
    return violations(_history(told), shared=frozenset(["s"]))


def _history(told: str) -> list[dict[str, Any]]:
    """Letters and tokens: what is good, or a pause, lasts until after the next but one. s: a beat of one who shares."""
    kinds = {
        "g": "granted",
        "b": "beat",
        "s": "beat",
        "-": "gone",
        "p": "paused",
        "f": "fault",
        "v": "good",
        "w": "stored",
        "r": "refused",
    }
    found: list[dict[str, Any]] = []
    for at, word in enumerate(told.split()):
        found.append({"at": at, "event": kinds[word[0]], "token": int(word[1:]), "name": word[0], "until": at + 1.5})
    return found


def test_the_judge_of_short_histories_sees_an_overlap(tmp_path: Path) -> None:
    history = tmp_path / "history"
    history.write_text("1 a 10\n1 a 20\n2 b 15\n")
    assert overlaps(history)[1]
    history.write_text("1 a 10\n1 a 14\n2 b 15\n")
    assert overlaps(history) == (2, [])
