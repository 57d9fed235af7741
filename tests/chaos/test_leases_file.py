# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Three guards of one host and the driver `file`, under random faults: never two holders, and there is one again.

HOLDFAST_CHAOS_SECONDS, _SEED and _REPORT are as in test_leases_etcd.py. What befalls them: tests/filed.py.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fenced import carried
from filed import FAULTS, World
from guarded import STUBBORN, Guards, make_runtime
from histories import report, violations

SECONDS = float(os.environ.get("HOLDFAST_CHAOS_SECONDS", "6"))
SEED = int(os.environ.get("HOLDFAST_CHAOS_SEED", str(random.randrange(2**32))))

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root")


@pytest.fixture
def world() -> Iterator[World]:
    base = Path(tempfile.mkdtemp(prefix="hf-lease-chaos-"))
    made = World(Guards(make_runtime(base), base), random.Random(SEED), STUBBORN)
    yield made
    made.close()
    shutil.rmtree(base)


def test_never_two_holders_and_always_one_again(world: World) -> None:
    end = time.monotonic() + SECONDS
    number = 0
    while number < len(FAULTS) or time.monotonic() < end:
        world.fault()
        number += 1
    world.until_held()
    events = carried(world.end(), SEED)
    found = violations(events)
    report("file", events, found, seed=SEED, seconds=SECONDS)
    assert found == [], f"seed {SEED}"
    assert {"granted", "gone", "beat"} <= {event["event"] for event in events}
    # All but a few of the faults end a tenure.
    assert len({event["token"] for event in events if event["event"] == "beat"}) > number // 2, f"seed {SEED}"
