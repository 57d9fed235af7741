# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A supervisor that lives in the test: remembers what it was told, and does it at once."""

from __future__ import annotations

from typing import Any

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.interface import (
    FEATURES,
    Backend,
    NotRunning,
    Service,
    Snapshot,
    Verdict,
)

STATES = {"start": "ready", "restart": "ready", "reload": "ready", "once": "ready", "stop": "down", "remove": "down"}


class FakeBackend(Backend):
    """records: the services by name, with the keys of the wire. refuse: messages by name. outcome: of every wish."""

    name = "fake"
    native = frozenset(FEATURES)

    def __init__(self, scan: str = "/nowhere", running: bool = True, **records: dict[str, Any]) -> None:
        super().__init__(scan)
        self.running = running
        self.records = {name: {"name": name, **record} for name, record in records.items()}
        self.refuse: dict[str, str] = {}
        self.outcome = "reached"
        self.calls: list[tuple[Any, ...]] = []

    def snapshot(self) -> Snapshot:
        if not self.running:
            raise NotRunning(f"no supervisor runs on {self.scan}")
        return Snapshot({"pid": 1}, {name: Service(record) for name, record in self.records.items()})

    def rescan(self) -> None:
        self.calls.append(("rescan",))

    def control(self, commands: list[tuple[str, str]]) -> dict[str, str]:
        self.calls.append(("control", *commands))
        for name, action in commands:
            if name not in self.refuse:
                record = self.records.setdefault(name, {"name": name})
                record.update(state=STATES[action], want="down" if STATES[action] == "down" else "up")
        return {name: text for name, text in self.refuse.items() if name in dict(commands)}

    def wait(self, wishes: list[tuple[str, str]], timeout: float) -> dict[str, Verdict]:
        self.calls.append(("wait", *wishes))
        return {name: Verdict(name, self.outcome, Service(self.records[name])) for name, _state in wishes}

    def close(self) -> None:
        self.calls.append(("close",))

    def commands(self) -> list[tuple[str, str]]:
        """Everything that it was told to do."""
        return [command for call in self.calls if call[0] == "control" for command in call[1:]]
