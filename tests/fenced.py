# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A store that refuses old tokens, at the other end of a network: the table of docs/fencing.md, as it stands there.

Every beat of a history is something that a service has sent to it with its token. Most of it arrives at once, the rest up to
half a minute late: after its sender was killed, and others have written.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

from histories import Event

PAGE = Path(__file__).resolve().parent.parent / "docs" / "fencing.md"
#: Of what is sent, the part that is late: by so many nanoseconds at least, and so many times that at most; for the rest those that it takes at most.
LATE, LEAST, TIMES, SOON = 0.4, 30 * 10**6, 1000, 10**6


def ledger() -> str:
    """Give the text of the example."""
    found = re.search(r"^```python\n# ledger.py\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None, f"{PAGE} has no ledger.py any more"
    return found[1]


def carried(events: list[Event], seed: int, shared: frozenset[str] = frozenset(), text: str = "") -> list[Event]:
    """Give *events* and what became of all that was sent, in the order of time.

    shared: who sends nothing, since several of them may write at a time. text: of the example, if it is to be another one.

        stored, refused   token, sent: when that was
    """
    chance = random.Random(seed)
    sent = [event for event in events if event["event"] == "beat" and event.get("name") not in shared]
    late = [
        int(LEAST * TIMES ** chance.random() if chance.random() < LATE else SOON * chance.random()) for _unused in sent
    ]
    arriving = sorted(zip((event["at"] + more for event, more in zip(sent, late)), sent), key=lambda one: one[0])
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="hf-fenced-", dir=memory if memory.is_dir() else None))
    before = os.environ.get("HOLDFAST_TOKEN")
    try:
        answers = _written(folder / "ledger.db", text or ledger(), arriving)
    finally:
        shutil.rmtree(folder)
        os.environ.pop("HOLDFAST_TOKEN", None)
        if before is not None:
            os.environ["HOLDFAST_TOKEN"] = before
    return sorted(events + answers, key=lambda event: int(event["at"]))


def _written(path: Path, text: str, arriving: list[tuple[int, Event]]) -> list[Event]:
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE fence (id INTEGER PRIMARY KEY, token INTEGER NOT NULL)")
        made.execute("CREATE TABLE balance (account TEXT PRIMARY KEY, amount INTEGER)")
    example: dict[str, Any] = {}
    exec(text, example)
    answers: list[Event] = []
    last = 0
    os.environ["HOLDFAST_TOKEN"] = "0"
    for at, one in arriving:
        os.environ["HOLDFAST_TOKEN"] = str(one["token"])
        try:
            example["write"](str(path), "x", one["at"])
        except example["Stale"]:
            answers.append({"at": at, "event": "refused", "token": one["token"], "sent": one["at"]})
        else:
            answers.append({"at": at, "event": "stored", "token": one["token"], "sent": one["at"]})
            last = one["at"]
    with sqlite3.connect(path) as opened:
        (amount,) = opened.execute("SELECT amount FROM balance").fetchone() or (0,)
    assert amount == last, f"the table has what was sent at {amount}, and {last} was stored last"
    return answers
