# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs on disk: what each state of a folder means, whoever has died meanwhile."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._jobs import store
from ansible_collections.holdfast.supervision.plugins.module_utils._jobs.store import Job, Store
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise._embedded import identity


def begin(job: Job, **more: Any) -> None:
    job.write("begun", {"pid": 1, "started": 0, "at": 5.0, "boot": identity.boot_id().hex(), **more})


def test_a_job_is_what_its_files_say(tmp_path: Path) -> None:
    job = Store(str(tmp_path / "jobs")).create(0, "one", "work", "digest")
    assert job.state() == {"state": "queued"}
    begin(job)
    job.write("status", {"progress": {"percent": 5.0, "text": ""}}, lasting=False)
    state = job.state()
    assert state["state"] == "running" and state["began"] == 5.0 and state["progress"]["percent"] == 5.0
    job.write("result", {"state": "done", "exit": 0})
    assert job.state() == {"state": "done", "exit": 0}


def test_another_store_finds_what_one_has_made(tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    job = Store(str(folder)).create(7, "one", "work", "digest", parameters={"a": 1})
    found = Store(str(folder)).get(7, "one")
    assert found is not None and found.record == job.record and found.record["parameters"] == {"a": 1}
    assert Store(str(folder)).get(8, "one") is None
    assert folder.stat().st_mode & 0o777 == 0o700 and Path(job.folder).stat().st_mode & 0o777 == 0o700


def test_an_id_is_used_once(tmp_path: Path) -> None:
    kept = Store(str(tmp_path))
    kept.create(0, "one", "work", "digest")
    with pytest.raises(FileExistsError):
        kept.create(0, "one", "work", "digest")
    assert kept.create(1, "one", "work", "digest").key == (1, "one")


def test_a_job_whose_making_was_cut_off_was_never_there(tmp_path: Path) -> None:
    Store(str(tmp_path))
    (tmp_path / "0-half").mkdir()
    (tmp_path / "0-half" / "unreported").write_text("")
    (tmp_path / "0-half" / "job.json.new").write_text("{")
    (tmp_path / "0-other").mkdir()
    (tmp_path / "0-other" / "job.json").write_text('{"id": "one", "uid": 0}')
    assert Store(str(tmp_path)).all() == []
    assert os.listdir(tmp_path) == []


def test_a_begun_job_without_a_keeper_is_lost_once_and_for_all(tmp_path: Path) -> None:
    job = Store(str(tmp_path)).create(0, "one", "work", "digest")
    assert not job.settle()
    begin(job)
    assert job.settle()
    lost = job.state()
    assert lost["state"] == "lost" and lost["message"] == "its keeper was killed" and lost["began"] == 5.0
    assert not job.settle()


def test_a_job_of_another_boot_is_lost_by_that(tmp_path: Path) -> None:
    job = Store(str(tmp_path)).create(0, "one", "work", "digest")
    begin(job, boot="0" * 32, pid=os.getpid(), started=identity.start_time(os.getpid()))
    assert job.keeper() == (0, 0)
    assert job.settle() and job.state()["message"] == "the host was restarted in its middle"


def test_a_job_with_a_keeper_is_not_lost(tmp_path: Path) -> None:
    job = Store(str(tmp_path)).create(0, "one", "work", "digest")
    begin(job)
    lock = job.lock()
    assert lock is not None and job.lock() is None
    assert not job.settle() and job.state()["state"] == "running"
    os.close(lock)
    assert job.settle()


def test_an_end_is_reported_once(tmp_path: Path) -> None:
    job = Store(str(tmp_path)).create(0, "one", "work", "digest")
    assert job.report() and not job.report()


def test_old_jobs_go_and_those_that_run_stay(tmp_path: Path) -> None:
    kept = Store(str(tmp_path))
    begin(kept.create(0, "runs", "work", "digest"))
    kept.create(0, "ancient", "work", "digest").write("result", {"state": "done", "ended": 1.0})
    kept.create(1, "others", "work", "digest").write("result", {"state": "done", "ended": time.time()})
    for number in range(store.KEPT_JOBS + 5):
        job = kept.create(0, f"job{number}", "work", "digest")
        job.write("result", {"state": "done", "ended": time.time() + number}, lasting=False)
    kept.make_room(0)
    names = {job.record["id"] for job in kept.all(0)}
    assert "runs" in names and "ancient" not in names and "job0" not in names
    assert len(names) == store.KEPT_JOBS and f"job{store.KEPT_JOBS + 4}" in names
    assert [job.record["id"] for job in kept.all(1)] == ["others"]
