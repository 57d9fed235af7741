# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Three hosts with a directory on NFS that contend for one lease, under random faults: never two holders, and there is one again.

All of it is in an emulated machine with a kernel of its own, see tests/machine/nfs_chaos_inside.py. Only with a
HOLDFAST_CHAOS_SECONDS of two minutes and more: the short form is a part of tests/machine/test_nfs.py. HOLDFAST_CHAOS_SEED
repeats a run's choices, HOLDFAST_CHAOS_REPORT names a file for figures, see histories.report.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from emulating import make_nfs_payload
from fenced import carried
from histories import report, violations
from testhosts import emulated

SECONDS = float(os.environ.get("HOLDFAST_CHAOS_SECONDS", "0"))
SEED = int(os.environ.get("HOLDFAST_CHAOS_SEED", str(random.randrange(2**32))))
#: Seconds: what the server is told, and the time of all grants. The least that the kernel's server takes.
TTL = 10

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="the root tree of the machine is built as root"),
    pytest.mark.skipif(SECONDS < 120, reason="takes minutes: HOLDFAST_CHAOS_SECONDS=600"),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="hf-chaos-nfs-"))
    yield make_nfs_payload(made, "nfs_chaos_inside.py")
    shutil.rmtree(made)


def test_never_two_holders_and_always_one_again(folder: Path) -> None:
    (folder / "chaos.json").write_text(json.dumps({"seconds": SECONDS, "seed": SEED, "ttl": TTL}))
    said = emulated.boot(folder, timeout=SECONDS + 600).said
    during, over, _after = said.partition("main is over\n")
    assert over, f"seed {SEED}: {said[-6000:]}"
    events = carried(list(map(json.loads, during.splitlines())), SEED)
    found = violations(events)
    report("nfs", events, found, seed=SEED, seconds=SECONDS)
    assert found == [], f"seed {SEED}"
    assert {"granted", "good", "gone", "beat"} <= {event["event"] for event in events}
