# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program that can only go to the background is supervised there."""

from __future__ import annotations

import procs
from conforming import Supervised, features, sh
from waiting import wait_until


@features("forking")
def test_what_it_leaves_in_the_background_is_the_service(host: Supervised) -> None:
    place, pid_file = host.base / "place", host.base / "pid"
    place.mkdir()
    command = sh(f"cd {place}; setsid sleep 100000 & echo $! >{pid_file}")
    definition = {"one": {"type": "forking", "pid_file": str(pid_file), "command": command}}
    host.good(definition)
    (first,) = procs.living_in(place)
    assert not host.good(definition)["changed"]
    procs.kill(first)
    wait_until(lambda: procs.living_in(place) not in ([], [first]))
    assert host.tell("one", "stop", "down").outcome == "reached"
    assert not procs.living_in(place)
