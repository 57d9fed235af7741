# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs on disk: a folder for each, which says what became of it whoever has died meanwhile. PRIVATE to the collection.

A folder has these files, each written beside and renamed in:

    job.json         what was asked for; never changes
    parameters.json  what it needs to begin, while it waits for its turn; may hold secrets
    begun.json       who keeps it, written before it does anything
    status.json      its progress and the end of its output, now and then
    result.json      how it ended
    unreported       that nobody has noted its end yet
    lock             locked as long as its keeper lives, and by whoever begins or settles it

So a job without begun.json has done nothing, and one with it but without a result and a keeper is lost: it may have done
anything, and is not begun again. A folder outlives a reboot if it is on a disk.
"""

from __future__ import annotations

import json
import os
import re
import time

from .._supervise._embedded import files, identity
from . import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

QUEUED, RUNNING, DONE, FAILED, CANCELLED, LOST = "queued", "running", "done", "failed", "cancelled", "lost"
ACTIVE = (QUEUED, RUNNING)
#: An ended job is kept for so many seconds, and so many of each user are.
KEPT_SECONDS, KEPT_JOBS = 86400.0, 64

is_id = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}").fullmatch


class Job:
    """One job; *record* is what was asked for, with the keys id, uid, name, digest, token, created and boot."""

    __slots__ = ("folder", "record")

    def __init__(self, folder: str, record: dict[str, Any]) -> None:
        self.folder = folder
        self.record = record

    @property
    def key(self) -> tuple[int, str]:
        """Give whose it is, and its name."""
        return self.record["uid"], self.record["id"]

    def read(self, name: str) -> dict[str, Any] | None:
        """Give the content of one of its files, None if there is none."""
        return read(f"{self.folder}/{name}.json")

    def write(self, name: str, content: dict[str, Any], lasting: bool = True) -> None:
        """Write one of its files. lasting: it is on the disk when this returns. Raises OSError."""
        write(f"{self.folder}/{name}.json", content, lasting)

    def sync(self) -> None:
        """Have what was asked for on the disk, which whoever made the job did not wait for. Raises OSError."""
        for path in (f"{self.folder}/job.json", self.folder, os.path.dirname(self.folder)):
            _sync(path)

    def lock(self) -> int | None:
        """Take its lock; None while its keeper lives. Raises OSError."""
        try:
            return files.lock(f"{self.folder}/lock")
        except files.Busy:
            return None

    def state(self) -> dict[str, Any]:
        """Give `state`, and with it what is known: began, ended, progress, outputs, exit and the like."""
        result = self.read("result")
        if result is not None:
            return result
        begun = self.read("begun")
        if begun is None:
            return {"state": QUEUED}
        return {**(self.read("status") or {}), "state": RUNNING, "began": begun["at"]}

    def keeper(self) -> tuple[int, int]:
        """Give pid and start time of its keeper, zeros if it was never begun or in another boot."""
        begun = self.read("begun")
        if begun is None or begun["boot"] != identity.boot_id().hex():
            return 0, 0
        return begun["pid"], begun["started"]

    def settle(self) -> bool:
        """Have a job that was begun, and has no keeper any more, end as lost; False if it is not so.

        What is left of it is killed first: nobody would know of it. Raises OSError.
        """
        descriptor = self.lock()
        if descriptor is None:
            return False
        try:
            begun = self.read("begun")
            if begun is None or self.read("result") is not None:
                return False
            if begun["boot"] != identity.boot_id().hex():
                reason = "the host was restarted in its middle"
            else:
                reason = "its keeper was killed"
                count = tree.kill_marked(self.record["token"])
                if count:
                    reason += f", and so were {count} processes that it left"
            status = {**(self.read("status") or {}), "state": LOST, "why": LOST, "message": reason}
            self.write("result", {**status, "began": begun["at"], "ended": time.time()})
            return True
        finally:
            os.close(descriptor)

    def report(self) -> bool:
        """Say, once, that nobody has noted its end; False ever after."""
        try:
            os.unlink(f"{self.folder}/unreported")
        except FileNotFoundError:
            return False
        return True


class Store:
    """The jobs below *path*, which is made, for its owner alone. Raises OSError."""

    def __init__(self, path: str) -> None:
        self._path = path
        os.makedirs(path, 0o700, exist_ok=True)
        os.chmod(path, 0o700)
        self._jobs: dict[tuple[int, str], Job] = {}
        for name in sorted(os.listdir(path)):
            folder = f"{path}/{name}"
            record = read(f"{folder}/job.json")
            if record is None or name != f"{record.get('uid')}-{record.get('id')}":
                # Its making was cut off: nobody was told of it.
                _remove(folder)
            else:
                self._jobs[record["uid"], record["id"]] = Job(folder, record)

    def get(self, uid: int, id_: str) -> Job | None:
        """Give a job of a user."""
        return self._jobs.get((uid, id_))

    def all(self, uid: int | None = None) -> list[Job]:
        """Give the jobs of a user, or of all, the oldest first."""
        found = [job for job in self._jobs.values() if uid is None or job.key[0] == uid]
        return sorted(found, key=lambda job: float(job.record["created"]))

    def create(self, uid: int, id_: str, name: str, digest: str, **details: object) -> Job:
        """Make a job, which has not begun. Raises FileExistsError for an id that the user has used, OSError.

        It is not sure to be on the disk yet: that is for the keeper, who has the time, before it begins.
        """
        if (uid, id_) in self._jobs:
            raise FileExistsError(id_)
        self.make_room(uid)
        folder = f"{self._path}/{uid}-{id_}"
        record: dict[str, Any] = {"id": id_, "uid": uid, "name": name, "digest": digest, **details}
        record.update(token=os.urandom(16).hex(), created=time.time(), boot=identity.boot_id().hex())
        os.mkdir(folder, 0o700)
        job = Job(folder, record)
        try:
            os.close(os.open(f"{folder}/unreported", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            job.write("job", record, lasting=False)
        except OSError:
            _remove(folder)
            raise
        self._jobs[job.key] = job
        return job

    def remove(self, job: Job) -> None:
        """Forget a job that nothing runs for."""
        self._jobs.pop(job.key, None)
        _remove(job.folder)

    def make_room(self, uid: int) -> None:
        """Forget what of a user's ended too long ago, and the oldest that is over."""
        ended = []
        for job in self.all(uid):
            result = job.read("result")
            if result is not None:
                ended.append((float(result.get("ended", 0)), job))
        ended.sort(key=lambda one: one[0])
        old = time.time() - KEPT_SECONDS
        while ended and (ended[0][0] < old or len(ended) >= KEPT_JOBS):
            self.remove(ended.pop(0)[1])


def read(path: str) -> dict[str, Any] | None:
    """Give the object in a file, None if there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def write(path: str, content: dict[str, Any], lasting: bool = True) -> None:
    """Write a file beside and rename it in. lasting: both are on the disk when this returns. Raises OSError."""
    beside = path + ".new"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        data = json.dumps(content).encode()
        while data:
            data = data[os.write(descriptor, data) :]
        if lasting:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(beside, path)
    if lasting:
        _sync(os.path.dirname(path))


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(folder: str) -> None:
    """Remove a folder of files, as far as that goes."""
    try:
        for name in os.listdir(folder):
            os.unlink(f"{folder}/{name}")
        os.rmdir(folder)
    except OSError:
        pass  # The next start tries again: it is no whole job any more.
