# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lease driver whose store is a table of SQLite: for services of one host. An example that passes the conformance suite.

Grants run out, so that it shows what a driver for several hosts has to do; the table of a database server would be no
different. Whoever asks removes what has run out. Every call has a connection of its own: guards fork, and have a thread.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing

from ansible_collections.holdfast.supervision.plugins.module_utils.lease_driver import (
    HOT,
    MODES,
    READONLY,
    RENEWS,
    RESOURCE_NAME,
    SHARED,
    TOKEN,
    UNBROKEN,
    Busy,
    Driver,
    DriverNotLoaded,
    DriverRefused,
    Grant,
    Holder,
    Lost,
    NotHeld,
    StoreUnavailable,
    compatible,
)

from .tables import TABLES, now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, ClassVar

#: Seconds between two looks of one in line.
_LOOK = 0.1


class LeaseDriver(Driver):
    """Leases in a table. Parameters: path, the database; ttl, seconds for which a grant is good."""

    name: ClassVar[str] = "example.locks.table"
    api: ClassVar[tuple[int, int]] = (1, 5)
    capabilities: ClassVar[frozenset[str]] = frozenset({SHARED, READONLY, HOT, TOKEN, RENEWS, UNBROKEN})
    parameters: ClassVar[frozenset[str]] = frozenset({"path", "ttl"})
    most_resources: ClassVar[int | None] = 100
    shortest_ttl: ClassVar[float] = 1.0

    def __init__(self, tenant: str, parameters: Mapping[str, Any]) -> None:
        """Make the driver. Raises DriverRefused."""
        super().__init__(tenant, parameters)
        self._path = str(parameters.get("path", ""))
        if not os.path.isabs(self._path):
            raise DriverRefused(f"driver {self.name}: path: {self._path!r} is not absolute")
        try:
            self.ttl = float(parameters.get("ttl", 10))
        except ValueError:
            raise DriverRefused(f"driver {self.name}: ttl: {parameters['ttl']!r} is no number") from None
        if not self.shortest_ttl <= self.ttl <= 3600:
            raise DriverRefused(f"driver {self.name}: ttl: {self.ttl:g} is not from 1 to 3600")
        self._owner = os.urandom(16).hex()
        self._modes: dict[str, str] = {}
        self._tokens: dict[str, int] = {}

    @classmethod
    def load(cls, core_api: tuple[int, int], features: frozenset[str]) -> None:
        """Need a core that renews, and a kernel's timer behind it."""
        missing = sorted({"renew", "dead_man"} - features)
        if core_api[0] != cls.api[0] or core_api < cls.api or missing:
            raise DriverNotLoaded(f"driver {cls.name}: this core lacks {', '.join(missing) or cls.api}")

    def probe(self) -> list[Any]:
        """Make the tables. No hole is known: one kernel keeps the locks and the clock."""
        self._change(lambda _table: None)
        return []

    def _change(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Do *work* in a transaction, alone. Raises StoreUnavailable, and what *work* raises; nothing has changed then."""
        patience = (self.ttl or 0) / 4
        try:
            with closing(sqlite3.connect(self._path, timeout=patience, isolation_level=None)) as table:
                table.execute("BEGIN IMMEDIATE")
                try:
                    for statement in TABLES:
                        table.execute(statement)
                    work(table)
                except BaseException:
                    table.execute("ROLLBACK")
                    raise
                table.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self._path}: {error}") from None

    def register(self, resource: str, mode: str) -> None:
        """Note the resource."""
        if not RESOURCE_NAME(resource) or resource in (".", ".."):
            raise DriverRefused(f"{resource!r}: a resource's name has letters, digits and _.@:+- (64 at most)")
        if mode not in MODES:
            raise DriverRefused(f"{resource}: {mode!r} is none of {', '.join(MODES)}")
        if resource in self._modes:
            raise DriverRefused(f"{resource}: is named twice")
        if len(self._modes) >= (self.most_resources or 0):
            raise DriverRefused(f"{resource}: one service can have {self.most_resources} resources at most")
        self._modes[resource] = mode

    def forget(self, resource: str) -> None:
        """Take back the registration of a resource that is not held."""
        if resource not in self._tokens:
            self._modes.pop(resource, None)

    def acquire(self) -> list[Grant]:
        """Get everything that is missing in one transaction, which renews the rest."""
        sent = now()
        got: dict[str, int] = {}

        def work(table: sqlite3.Connection) -> None:
            got.clear()
            table.execute("DELETE FROM held WHERE until <= ? AND owner != ?", (now(), self._owner))
            self._check_ours(table)
            for resource, mode in self._modes.items():
                if resource not in self._tokens:
                    got[resource] = self._take(table, resource, mode, sent)
            self._extend(table, sent)

        self._change(work)
        self._tokens.update(got)
        self.good_from = sent
        return self.held()

    def _take(self, table: sqlite3.Connection, resource: str, mode: str, sent: float) -> int:
        others = self._holders(table.execute("SELECT * FROM held WHERE resource = ?", (resource,)))
        conflicts = [one for one in others if not compatible(one.mode, mode)]
        if conflicts:
            raise Busy(resource, map(str, conflicts))
        table.execute(
            "INSERT INTO tokens VALUES (?, 1) ON CONFLICT (resource) DO UPDATE SET token = token + 1", (resource,)
        )
        (token,) = table.execute("SELECT token FROM tokens WHERE resource = ?", (resource,)).fetchone()
        row = (resource, mode, self._owner, self.tenant, os.getpid(), token, time.time(), sent + (self.ttl or 0))
        table.execute("INSERT INTO held VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        return int(token)

    def _check_ours(self, table: sqlite3.Connection) -> None:
        """Look that our rows are still there: nobody removes one but who is granted what was in its way. Raises Lost."""
        ours = {row[0] for row in table.execute("SELECT resource FROM held WHERE owner = ?", (self._owner,))}
        gone = sorted(set(self._tokens) - ours)
        if gone:
            raise Lost(f"{', '.join(gone)}: has run out or was taken away")

    def _extend(self, table: sqlite3.Connection, sent: float) -> None:
        table.execute("UPDATE held SET until = ? WHERE owner = ?", (sent + (self.ttl or 0), self._owner))

    def renew(self) -> None:
        """Put off the end of everything that is held, if it is all there still."""
        sent = now()

        def work(table: sqlite3.Connection) -> None:
            self._check_ours(table)
            self._extend(table, sent)

        self._change(work)
        self.good_from = sent

    def bind(self, pid: int, started: int) -> None:
        """Nothing to do: the grants run out, and the kernel's timer ends the tree before that."""

    def prepare_line(self) -> None:
        """Nothing to do."""

    def leave_line(self) -> None:
        """Nothing to do: one in line has nothing."""

    def line_up(self) -> None:
        """Look again and again."""
        while any(self._in_the_way(resource) for resource in self._modes if resource not in self._tokens):
            time.sleep(_LOOK)

    def _in_the_way(self, resource: str) -> bool:
        try:
            return any(not compatible(one.mode, self._modes[resource]) for one in self.owners(resource))
        except StoreUnavailable:
            return True

    def release(self, resource: str | None = None) -> None:
        """Delete our rows."""
        if resource is not None and resource not in self._tokens:
            raise NotHeld(resource, self.tenant)
        chosen = [resource] if resource is not None else list(self._tokens)
        rows = [(self._owner, one) for one in chosen]
        self._change(
            lambda table: table.executemany("DELETE FROM held WHERE owner = ? AND resource = ?", rows) and None
        )
        for one in chosen:
            del self._tokens[one], self._modes[one]
        if resource is None:
            self._modes.clear()

    def held(self) -> list[Grant]:
        """Give what is held."""
        return [Grant(resource, self._modes[resource], token) for resource, token in self._tokens.items()]

    def owners(self, resource: str) -> list[Holder]:
        """Read the rows of the resource."""
        return self._read("SELECT * FROM held WHERE resource = ? AND until > ?", (resource, now()))

    def all_owners(self) -> list[Holder]:
        """Read all rows."""
        return self._read("SELECT * FROM held WHERE until > ?", (now(),))

    def _read(self, query: str, values: tuple[Any, ...]) -> list[Holder]:
        found: list[Holder] = []
        self._change(lambda table: found.extend(self._holders(table.execute(query, values))))
        return found

    @staticmethod
    def _holders(rows: Iterable[tuple[Any, ...]]) -> list[Holder]:
        return [Holder(row[0], row[1], row[3], row[4], row[5], row[6], None) for row in rows]

    def free(self) -> None:
        """Nothing is open."""
