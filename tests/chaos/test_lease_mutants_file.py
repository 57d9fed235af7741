# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Guards and the driver `file` with known faults: a check has to catch each. See test_lease_mutants.py."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from contending import Scene
from guarded import CLOSES, Edits, Guards, make_runtime
from witnesses import FileWitness

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import lockfile
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.interface import EXCLUSIVE_MODE, Busy

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces, and the change of user, need root")

SceneOf = Callable[[Edits], Scene]
GUARD = "holdfast/_lease/_guard/"
IN_GROUP = ("--containment=process_group", "--safety=standard")


@pytest.fixture
def scene_of() -> Iterator[SceneOf]:
    base = Path(tempfile.mkdtemp(prefix="hf-mutant-"))
    base.chmod(0o755)
    made: list[Scene] = []

    def scene(edits: Edits) -> Scene:
        guards = Guards(make_runtime(base, edits), base)
        made.append(Scene(guards, lambda note: FileWitness(guards.leases, "r", note)))
        made[0].history.beats.chmod(0o666)
        return made[0]

    yield scene
    for one in made:
        one.close()
    shutil.rmtree(base)


def asked_to_stop(scene: Scene) -> None:
    scene.begin("--stop-timeout=2")
    scene.holder.terminate()


def killed_as_another_user(scene: Scene) -> None:
    """What is to kill it with the guard is taken back by the kernel when a process changes its user."""
    definition = scene.guards.base / "holdfast.json"
    definition.write_text(json.dumps({"lease": {"process": {"user": "nobody"}}}))
    for name in "ab":
        scene.start(name, *IN_GROUP, f"--definition={definition}", script=CLOSES)
    scene.holder.kill()


def killed_in_a_group(scene: Scene) -> None:
    for name in "ab":
        scene.start(name, *IN_GROUP, script=CLOSES)
    scene.holder.kill()


#: The file of the guard's tree: a service is waited for by its successor too, so that both have to be wrong.
OUTLIVED = ("holdfast/_lease/lockfile.py", "if tree is not None and not trees.end(tree, patience):", "if False:")
TREE = GUARD + "tree.py"
#: name: what is exchanged (file, text, instead), and what then happens.
MUTANTS: dict[str, tuple[Edits, Callable[[Scene], None]]] = {
    "released before the tree is gone": (
        ((GUARD + "guard.py", "            self.tree.terminate()", "            self.driver.release()"),),
        asked_to_stop,
    ),
    "tied to the guard before the change of user": (
        (
            OUTLIVED,
            (TREE, "        apply(command.state, command.environment)", "        last()"),
            (
                TREE,
                "        last()\n        signal",
                "        apply(command.state, command.environment)\n        signal",
            ),
        ),
        killed_as_another_user,
    ),
    "not tied to the guard": (
        (
            OUTLIVED,
            (
                TREE,
                "            kernel.die_with_parent()\n            kernel.kill_group",
                "            kernel.kill_group",
            ),
        ),
        killed_in_a_group,
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught(name: str, scene_of: SceneOf) -> None:
    edits, what = MUTANTS[name]
    scene = scene_of(edits)
    what(scene)
    # One goes on beside the other: with two layers wrong there would be an overlap of moments, whatever the second one is.
    scene.until_beats("b")
    scene.until_beats("a")
    assert scene.judge() != []


@pytest.mark.parametrize("what", [asked_to_stop, killed_as_another_user, killed_in_a_group])
def test_the_real_one_is_not(what: Callable[[Scene], None], scene_of: SceneOf) -> None:
    scene = scene_of(())
    what(scene)
    assert scene.judge() == []


# -- faults of the driver, in this process


def _got_beside_an_exchanged_file(directory: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether two get it, of whom one has opened the lock file before it was exchanged, and draws his number beside the other."""
    directory.mkdir()
    one, other = (lockfile.Resource(str(directory), "r", EXCLUSIVE_MODE, tenant) for tenant in ("one", "other"))
    one.open()
    (directory / "r.lock").unlink()
    counting = lockfile.Resource._count

    def count_beside(self: lockfile.Resource, handover: None) -> None:
        if self is one:
            try:
                other.take(0.0, None)
            except Busy:
                other.close()
        counting(self, handover)

    with monkeypatch.context() as patch:
        patch.setattr(lockfile.Resource, "_count", count_beside)
        one.take(0.0, None)
    both = one.token is not None and other.token is not None
    for each in (one, other):
        each.give_back()
    return both


def test_an_inode_that_is_not_compared_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not _got_beside_an_exchanged_file(tmp_path / "real", monkeypatch)
    opening = lockfile.Resource.open

    def open_once(self: lockfile.Resource) -> None:
        if self.descriptor < 0:
            opening(self)

    monkeypatch.setattr(lockfile.Resource, "_current", lambda _self: True)
    monkeypatch.setattr(lockfile.Resource, "open", open_once)
    assert _got_beside_an_exchanged_file(tmp_path / "mutant", monkeypatch)
