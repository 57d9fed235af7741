# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The examples of docs/fencing.md, as they stand there, with the tokens of real guards: a stale writer is refused."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest
from guarded import PYTHON, Guards
from waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root")


@pytest.fixture(scope="module")
def examples(checkout: Path) -> dict[str, str]:
    """The examples of the page by the names in their first lines."""
    text = (checkout / "docs" / "fencing.md").read_text()
    return dict(re.findall(r"^```\w+\n# (\S+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def two_tokens(guards: Guards) -> tuple[int, int]:
    """The tokens of a holder that is dead and of its successor."""
    first = guards.start("a")
    guards.until("a", "active")
    old = guards.token("a")
    first.terminate()
    first.wait(20)
    guards.start("b")
    guards.until("b", "active")
    return old, guards.token("b")


def test_a_table_refuses_what_the_old_holder_writes_late(examples: dict[str, str], guards: Guards) -> None:
    """The services themselves write: the old one's request is one that was under way when it died."""
    database = guards.base / "ledger.db"
    with sqlite3.connect(database) as made:
        made.execute("CREATE TABLE fence (id INTEGER PRIMARY KEY, token INTEGER NOT NULL)")
        made.execute("CREATE TABLE balance (account TEXT PRIMARY KEY, amount INTEGER)")
    program = guards.base / "service.py"
    last = "\nimport sys, time\nwrite(sys.argv[1], 'x', int(sys.argv[2]))\ntime.sleep(1000)\n"
    program.write_text(examples["ledger.py"] + last)

    def amount() -> Any:
        with sqlite3.connect(database) as opened:
            return (opened.execute("SELECT amount FROM balance").fetchone() or (None,))[0]

    first = guards.start("a", command=(PYTHON, str(program), str(database), "1"))
    guards.until("a", "active")
    old = guards.token("a")
    wait_until(lambda: amount() == 1)
    first.kill()
    guards.start("b", command=(PYTHON, str(program), str(database), "2"))
    wait_until(lambda: amount() == 2)
    late = subprocess.run(
        [PYTHON, str(program), str(database), "3"],
        env={"HOLDFAST_TOKEN": str(old)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert late.returncode != 0 and f"token {old} is not the greatest any more" in late.stderr
    assert amount() == 2


class Store:
    """A toy store with conditional writes; `meanwhile` is what another client does between our reading and writing."""

    def __init__(self) -> None:
        self.tag: int | None = None
        self.token = 0
        self.data = b""
        self.meanwhile: Any = None

    def get(self, _name: str) -> tuple[int | None, int]:
        seen = self.tag, self.token
        if self.meanwhile:
            act, self.meanwhile = self.meanwhile, None
            act()
        return seen

    def put(self, _name: str, data: bytes, token: int, if_match: int | None) -> None:
        if if_match != self.tag:
            raise LookupError("412")
        self.tag, self.token, self.data = (self.tag or 0) + 1, token, data


def test_an_object_store_refuses_it_also_between_looking_and_writing(examples: dict[str, str], guards: Guards) -> None:
    old, new = two_tokens(guards)
    space: dict[str, Any] = {}
    exec(examples["objects.py"], space)  # the page's own code is what is tested
    put, store = space["put"], Store()
    put(store, "o", b"old", old)
    store.meanwhile = lambda: put(store, "o", b"new", new)
    with pytest.raises(PermissionError, match=f"token {new}, ours is {old}"):
        put(store, "o", b"late", old)
    assert store.data == b"new"
    put(store, "o", b"newer", new)
    assert store.data == b"newer"


def test_a_script_refuses_it(examples: dict[str, str], guards: Guards) -> None:
    old, new = two_tokens(guards)
    script = guards.base / "deploy.sh"
    script.write_text(examples["deploy.sh"])

    def deploy(token: int) -> subprocess.CompletedProcess[str]:
        environment = {"STATE": str(guards.base), "PATH": os.environ["PATH"]}
        return subprocess.run(
            ["/bin/sh", str(script), str(token)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    assert [deploy(token).returncode for token in (old, new, old, new)] == [0, 0, 1, 0]
    assert (guards.base / "log").read_text().splitlines() == [f"deployed by {token}" for token in (old, new, new)]


def test_the_token_is_in_a_descriptor_too_and_follows_what_is_added(guards: Guards) -> None:
    out = guards.base / "out"
    out.mkdir()
    out.chmod(0o777)
    told = out / "told"
    loop = f"while :; do cat /dev/fd/$HOLDFAST_TOKEN_FD > {told}.new; mv {told}.new {told}; sleep 0.05; done"
    script = f"echo no > /dev/fd/$HOLDFAST_TOKEN_FD; head -c 100 <&$HOLDFAST_TOKEN_FD > {told}.first; {loop}"
    # As a user who cannot do what root can: what it opens anew it may only read.
    guards.start("a", command=("/usr/bin/setpriv", "--reuid=65534", "--clear-groups", "/bin/sh", "-c", script))
    guards.until("a", "active")
    token = guards.token("a")
    wait_until(told.exists)
    assert Path(f"{told}.first").read_text() == told.read_text() == f"r {token}\n"
    added = guards.call("a", "Acquire", resource="disk")["token"]
    wait_until(lambda: told.read_text() == f"r {token}\ndisk {added}\n")
