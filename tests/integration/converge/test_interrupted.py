# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run is killed anywhere: the supervisor never sees half a directory, and the next run finishes the work."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from converging import SLEEP, Host

from ansible_collections.holdfast.supervision.plugins.module_utils._plan import publish

CHANGING = ("mkdir", "rename", "rmdir", "symlink", "unlink", "write")


def definitions(generation: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        name: {
            "command": SLEEP,
            "environment": {"GENERATION": str(generation)},
            "secret_environment": {"SECRET": f"secret {generation}"},
        }
        for name in ("one", "two")
    }
    # One comes and goes with the generations.
    made[f"odd-{generation % 2}"] = {"command": SLEEP}
    return made


def killed_run(host: Host, generation: int, calls: int) -> bool:
    """Run the task in a process that dies at the call behind so many that change something; gives whether it ended."""
    child = os.fork()
    if not child:
        code = 1
        try:
            left = calls

            def counted(function: Callable[..., Any]) -> Callable[..., Any]:
                def call(*arguments: Any, **options: Any) -> Any:
                    nonlocal left
                    left -= 1
                    if left < 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return function(*arguments, **options)

                return call

            for name in CHANGING:
                setattr(os, name, counted(getattr(os, name)))
            publish.exchange = counted(publish.exchange)
            code = bool(host.task(definitions(generation), prune=True).get("failed"))
        finally:
            os._exit(code)
    _pid, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL)
    return status == 0


def complete(directory: Path) -> None:
    """A directory under its final name has everything that its manifest lists."""
    meta = json.loads((directory / "holdfast.json").read_text())
    for name in meta["files"]:
        assert (directory / name).is_file(), f"{directory}: {name} is missing"
    assert (directory / "supervise").is_symlink()


def test_the_next_run_finishes_what_a_killed_one_began(host: Host) -> None:
    assert not host.task(definitions(0)).get("failed")
    (host.scan / "one" / "data").mkdir()
    (host.scan / "one" / "data" / "precious").write_text("gold")
    calls, generation, ended = 0, 0, False
    while not ended:
        generation += 1
        ended = killed_run(host, generation, calls)
        for entry in host.scan.iterdir():
            if not entry.name.startswith("."):
                complete(entry)
        # Everything that changes is hit: each time the run gets one call further than the last one.
        calls += 1
        if generation % 5 and not ended:
            continue
        generation += 1
        result = host.task(definitions(generation), prune=True)
        assert not result.get("failed"), result["msg"]
        assert sorted(os.listdir(host.scan)) == sorted([".holdfast", *definitions(generation)])
        assert (host.scan / "one" / "data" / "precious").read_text() == "gold"
        assert (host.scan / "one" / "env" / "SECRET").read_text() == f"secret {generation}"
        again = host.task(definitions(generation), prune=True)
        assert again["actions"] == []
        status = host.status()
        assert set(status) == set(definitions(generation))
        for service in status.values():
            assert service["state"] == "ready" and service["definition"] == service["loaded"]
    assert calls > 30
