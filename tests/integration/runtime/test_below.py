# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts whose process 1 is a supervisor already: what supervises our services is one of its own."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from contained import Contained, missing
from deployed import PYTHON, Deployment, runtime
from resident import Refused
from waiting import wait_until

pytestmark = pytest.mark.skipif(bool(missing()) or os.geteuid() != 0, reason=missing() or "hosts are made by root")

SLEEP = {"command": ["/bin/sleep", "100000"], "readiness": {"grace": "20ms"}}
#: Its second stage is what Debian's is; the first and the third, which boot and end a machine, do nothing.
RUNIT = """
mkdir {base}/stages && cd {base}/stages
printf '#!/bin/sh\n' | tee 1 3 >/dev/null
printf '#!/bin/sh\nexec runsvdir -P {base}/first.d log:\n' >2
chmod +x 1 2 3
mkdir -p /etc/runit && mount --bind {base}/stages /etc/runit && exec runit
"""
FIRST = {
    "s6-svscan": "exec s6-svscan {base}/first.d",
    "runsvdir": "exec runsvdir -P {base}/first.d",
    "svscan": "exec svscan {base}/first.d",
    "runit": RUNIT,
}


@pytest.fixture
def base() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="hf-below-"))
    folder.chmod(0o755)
    (folder / "first.d").mkdir()
    yield folder
    shutil.rmtree(folder)


def contained(base: Path, first: str) -> Contained:
    host = Contained(base, first.format(base=base))
    wait_until(lambda: host.process_one() and not name(host).startswith(("sh", "unshare")))
    return host


def name(host: Contained) -> str:
    return Path(f"/proc/{host.process_one()}/comm").read_text().strip()


@pytest.mark.parametrize(
    ("first", "backend"),
    [
        ("s6-svscan", "embedded"),
        ("s6-svscan", "s6"),
        ("runsvdir", "runit"),
        ("runsvdir", "supervisord"),
        ("runit", "embedded"),
        ("svscan", "daemontools"),
    ],
)
def test_it_is_a_service_of_process_one(base: Path, first: str, backend: str) -> None:
    if not shutil.which(first):
        pytest.skip(f"there is no {first}")
    host = contained(base, FIRST[first])
    try:
        predicted = host.supervisor("started", backend, check=True)
        assert not (base / "holdfast" / "below").exists()
        made = host.supervisor("started", backend)
        assert made["actions"] == predicted["actions"] and made["state"] == "running"
        assert made["boot"].startswith("process 1 starts ")
        [link] = (base / "first.d").glob("holdfast*")
        assert link.is_symlink() and (link / "supervise").is_dir()
        assert host.converge(backend, {"one": SLEEP})
        [state, pid] = host.services(backend)["one"]
        assert state == "ready" and pid
        again = host.supervisor("started", backend)
        assert not again["changed"] and again["pid"] == made["pid"]

        # Nobody but process 1 starts it again.
        host.kill(made["pid"], signal.SIGKILL)
        wait_until(lambda: _pid(host, backend) not in (None, made["pid"]))
        wait_until(lambda: _is_ready(host, backend))
        if backend != "supervisord":
            assert host.services(backend)["one"][1] == pid
        assert not host.supervisor("started", backend)["changed"]

        [_state, pid] = host.services(backend)["one"]
        stopped = host.supervisor("stopped", backend)
        assert stopped["changed"] and stopped["state"] == "stopped"
        with pytest.raises(Refused, match="ProcessLookupError"):
            host.kill(pid or 0, 0)
        assert host.supervisor("started", backend)["changed"]
        wait_until(lambda: _is_ready(host, backend))

        assert host.supervisor("absent", backend)["changed"]
        assert [path for path in (base / "first.d").iterdir() if not path.name.startswith(".")] == []
        assert not (base / "holdfast" / "below").exists()
        assert not host.supervisor("absent", backend)["changed"]
    finally:
        host.close()


def _is_ready(host: Contained, backend: str) -> bool:
    try:
        return host.services(backend).get("one", ("", None))[0] == "ready"
    except Refused:
        # Its process is there before it can be asked.
        return False


def _pid(host: Contained, backend: str) -> int | None:
    try:
        pid: int | None = host.supervisor("started", backend, check=True)["pid"]
        return pid
    except Refused:
        # The supervisor that was killed has not been followed by another one yet.
        return None


@pytest.mark.parametrize("backend", ["embedded", "runit", "supervisord"])
def test_nothing_is_started_beside_it_when_it_cannot_be_below(base: Path, backend: str) -> None:
    host = contained(base, FIRST["s6-svscan"])
    try:
        with pytest.raises(Refused, match="process 1 of this host is s6-svscan, which supervises services itself"):
            host.supervisor("started", backend, scripts=False)
        assert not host.scan.exists()
    finally:
        host.close()


def test_a_service_of_others_with_its_name_is_not_touched(base: Path) -> None:
    theirs = base / "first.d" / "holdfast"
    theirs.mkdir()
    (theirs / "run").write_text("#!/bin/sh\nexec sleep 100000\n")
    (theirs / "run").chmod(0o755)
    host = contained(base, FIRST["s6-svscan"])
    try:
        with pytest.raises(Refused, match=r"was not made by holdfast\.supervision: move it away"):
            host.supervisor("started", "embedded")
        assert theirs.is_dir() and not theirs.is_symlink() and not host.scan.exists()
    finally:
        host.close()


@pytest.mark.parametrize(
    ("backend", "first"),
    [
        ("embedded", f"exec {PYTHON} -I -S {{base}}/holdfast/lib/current supervise {{base}}/holdfast/services"),
        ("s6", "exec s6-svscan {base}/holdfast/services/.s6"),
    ],
)
def test_what_supervises_as_process_one_is_used_and_never_ended(base: Path, backend: str, first: str) -> None:
    deployment = Deployment(base)
    deployment.install(runtime())
    (deployment.scan / ".s6" if backend == "s6" else deployment.scan).mkdir(parents=True)
    host = contained(base, first)
    try:
        found = wait_until(lambda: _found(host, backend))
        assert found["pid"] == 1
        assert not host.supervisor("started", backend)["changed"]
        assert host.converge(backend, {"one": SLEEP})
        before = host.services(backend)
        for state, other in (("stopped", backend), ("absent", backend), ("started", "runit")):
            with pytest.raises(Refused, match=r"\(" + backend + r"\) is process 1 of this host"):
                host.supervisor(state, other)
        assert host.services(backend) == before
    finally:
        host.close()


def _found(host: Contained, backend: str) -> dict[str, object] | None:
    try:
        return host.supervisor("started", backend)
    except Refused:
        return None
