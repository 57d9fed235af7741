# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What comes before a lease of sanlock: making a lockspace over nothing that is there, joining, and naming every hole."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from guarded import PYTHON, Guards
from sanlocks import SANLOCK, Host, Storage
from waiting import wait_until

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import drivers, handover, interface
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._sanlock import daemon as daemons
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._sanlock import handing, marks, prepare
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.modes import SHARED_MODE

pytestmark = pytest.mark.skipif(not SANLOCK, reason="there is no sanlock")


@pytest.fixture(scope="module")
def bare() -> Iterator[Storage]:
    """Two daemons that have joined nothing."""
    made = Storage(2)
    yield made
    made.close()


def driver(host: Host, **parameters: Any) -> interface.Driver:
    return drivers.load("sanlock")("t", host.parameters(**parameters))


def contents(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def elsewhere(storage: Storage, name: str) -> dict[str, Any]:
    """Parameters for another file."""
    return storage.hosts[0].parameters(path=str(storage.base / name))


# -- making a lockspace


def test_it_is_made_once_and_left_alone_afterwards(bare: Storage) -> None:
    parameters = elsewhere(bare, "once")
    assert prepare.prepare(parameters, 1, 8, check=True)
    assert not Path(parameters["path"]).exists()
    assert prepare.prepare(parameters, 1, 8)
    before = contents(Path(parameters["path"]))
    assert not prepare.prepare(parameters, 1, 8)
    assert contents(Path(parameters["path"])) == before
    assert not list(bare.base.glob("once.*"))


def test_of_several_at_once_one_makes_it(bare: Storage) -> None:
    ways = [host.parameters(path=str(bare.base / "race")) for host in bare.hosts * 4]
    with ThreadPoolExecutor(len(ways)) as pool:
        # Each of them is a process of its own on the hosts; here the names beside must differ too.
        made = list(pool.map(_prepared, ways))
    assert sorted(made) == [False] * (len(ways) - 1) + [True]


def _prepared(parameters: dict[str, Any]) -> bool:
    """In a process of its own, as on a host."""
    code = "import json, sys; from ansible_collections.holdfast.supervision.plugins.module_utils._lease._sanlock import prepare"
    code += "; print(json.dumps(prepare.prepare(json.loads(sys.argv[1]), 1, 8)))"
    words = [PYTHON, "-c", code, json.dumps(parameters)]
    top = Path(__file__).resolve().parents[6]
    told = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, cwd=top)
    assert told.returncode == 0, told.stderr
    return bool(json.loads(told.stdout))


@pytest.mark.parametrize("content", [b"", b"precious", b"\0" * (8 << 20)])
def test_a_file_that_is_something_else_is_not_written_over(bare: Storage, content: bytes) -> None:
    parameters = elsewhere(bare, f"other{len(content)}")
    path = Path(parameters["path"])
    path.write_bytes(content)
    with pytest.raises(interface.LeaseError, match=r"move it away|reading the lockspace"):
        prepare.prepare(parameters, 1, 8)
    assert path.read_bytes() == content


def test_another_lockspace_is_not_written_over(bare: Storage) -> None:
    parameters = elsewhere(bare, "theirs")
    prepare.prepare({**parameters, "lockspace": "theirs"}, 1, 8)
    before = contents(Path(parameters["path"]))
    with pytest.raises(interface.DriverRefused, match="is the lockspace theirs, not holdfast"):
        prepare.prepare(parameters, 1, 8)
    with pytest.raises(interface.DriverRefused, match="was made with io_timeout 1, not 10"):
        prepare.prepare({**parameters, "lockspace": "theirs"}, 10, 8)
    assert contents(Path(parameters["path"])) == before


def test_the_same_resource_is_made_once_by_all_who_want_it(hosts: Storage) -> None:
    """Each of two resources of one name would have a holder."""

    def get(at: int) -> int:
        one = driver(hosts.hosts[at % 2], prefix="same/")
        one.register(f"r{at // 8}", SHARED_MODE)
        while True:
            try:
                return one.acquire()[0].token
            except (interface.Busy, interface.StoreUnavailable):
                continue
            finally:
                one.free()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(get, range(16)))
    # The names in sanlock's index, of which each is 64 bytes: offset, flags, name.
    with open(hosts.path, "rb") as file:
        file.seek((daemons.INDEX_AT << 20) + 512)
        entries = [file.read(64)[16:].rstrip(b"\0") for _unused in range(512)]
    names = [name for name in entries if name.startswith(b"same/")]
    assert sorted(names) == [b"same/r0", b"same/r1"]


# -- handing over


def test_sanlock_itself_sees_that_somebody_was_in_between(hosts: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    source, other, target = (driver(hosts.hosts[at], prefix="between/") for at in (0, 1, 1))
    for one in (source, other, target):
        one.register("r", interface.EXCLUSIVE_MODE)
    token = source.acquire()[0].token
    state = source.prepare_out("h", target.identity, 60)
    source.release()
    # Nothing of ours is looked at before it is asked.
    monkeypatch.setattr(handing, "permit", lambda *_: None)
    other.acquire()
    other.release()
    with pytest.raises(handover.Overtaken, match="since it was given up"):
        target.complete_in(state)
    assert target.held() == []
    assert target.acquire()[0].token == token + 2
    target.release()


def test_a_mark_that_cannot_be_written_in_time_keeps_nobody_waiting(ways: Storage) -> None:
    """The way to the storage is lost: the daemon waits for it, and so does who looks at the marks, but we do not."""
    one, other = (driver(host, prefix="lost/") for host in ways.hosts)
    one.register("r", interface.EXCLUSIVE_MODE)
    one.acquire()
    assert ways.hosts[0].way is not None
    ways.hosts[0].way.be("lost")
    with pytest.raises(interface.StoreUnavailable, match="does not answer"):
        one.prepare_out("h", other.identity, 60)
    ways.hosts[0].way.be("good")
    ways.hosts[0].until_renewed()
    assert [grant.resource for grant in one.held()] == ["r"]
    assert one.prepare_out("h", other.identity, 60).tokens == {"r": one.held()[0].token}
    one.release()


def test_what_the_guard_may_not_write_to_is_named(hosts: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    one = driver(hosts.hosts[0], prefix="denied/")
    one.register("r", interface.EXCLUSIVE_MODE)
    one.acquire()

    def denied(path: str, _blocks: object) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    with monkeypatch.context() as patched:
        patched.setattr(marks, "_write", denied)
        with pytest.raises(interface.LeaseError, match="Permission denied; hand-overs are noted on it by the guards"):
            one.prepare_out("h", "x@y", 60)
    assert one.handed_over("r") is None
    one.release()


# -- joining


def test_the_command_makes_and_joins_and_does_nothing_the_second_time(runtime: Path) -> None:
    storage = Storage(1, prepared=False)
    try:
        (host,) = storage.hosts
        words = [f"--parameter={name}={value}" for name, value in host.parameters().items()]

        def command(*more: str) -> dict[str, bool]:
            told = subprocess.run(
                [PYTHON, "-I", "-S", str(runtime), "lease", "prepare", "--driver=sanlock", *words]
                + ["--io-timeout=1", "--resources=8", "--join=30", *more],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert told.returncode == 0, told.stderr
            return dict(json.loads(told.stdout))

        assert command("--check") == {"made": True, "joined": True}
        assert host.daemon().space() is None
        assert command() == {"made": True, "joined": True}
        assert host.daemon().space() is not None
        assert command() == command("--check") == {"made": False, "joined": False}
    finally:
        storage.close()


def test_two_hosts_with_one_host_id(hosts: Storage) -> None:
    """The second one waits for the first one to go, and says so; the first one is not disturbed."""
    with pytest.raises(interface.DriverRefused, match=r"this host is host 2 .* and the parameter host_id says 1"):
        driver(hosts.hosts[1], host_id=1).probe()
    third = Host(hosts, 3).start()
    try:
        twin = driver(third, host_id=1)
        with pytest.raises(interface.StoreUnavailable, match="another host has the same host id"):
            twin.probe()
        twin.register("twin", interface.EXCLUSIVE_MODE)
        with pytest.raises(interface.StoreUnavailable, match="has not joined"):
            twin.acquire()
        first = driver(hosts.hosts[0])
        first.register("twin", interface.EXCLUSIVE_MODE)
        assert first.acquire()
        first.release()
    finally:
        third.end()


# -- what is open, and what cannot be


def holes(one: interface.Driver) -> dict[str, str]:
    return {hole.name: hole.text for hole in one.probe()}


def test_the_holes_are_named(hosts: Storage) -> None:
    one = driver(hosts.hosts[0])
    found = holes(one)
    assert set(found) == {"no_watchdog", "local_storage"}
    assert "wdmd" in found["no_watchdog"]
    facts = one.facts()
    assert (facts["host_id"], facts["io_timeout"], facts["failover"]) == ("1", "1", "68 s after the death of a host")


def test_a_fixed_name_is_a_hole(bare: Storage) -> None:
    named = Host(bare, 7).start("-e", "always-the-same")
    try:
        with pytest.raises(interface.DriverRefused):
            holes(driver(named, path="/nowhere/at/all"))
        named.join()
        wait_until(named.knows_others)
        assert "always-the-same" in holes(driver(named))["fixed_name"]
    finally:
        named.end()


def test_hosts_that_count_differently_are_refused(bare: Storage) -> None:
    here, there = bare.hosts
    here.join()
    there.daemon().join(there.number, 2, 30.0)
    wait_until(lambda: here.knows_others() and 2 in here.daemon().hosts())
    with pytest.raises(interface.DriverRefused, match=r"io_timeout is 1 here and not everywhere \(host 2 has 2\)"):
        driver(here).probe()


@pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root")
def test_strict_starts_nothing_while_a_hole_is_open(hosts: Storage, guards: Guards) -> None:
    guards.use_sanlock(hosts.hosts[0])
    assert guards.start("one", "--safety=strict").wait(20) == 111
    told = guards.errors("one")
    assert "no_watchdog" in told
    assert "local_storage" in told
    assert guards.report("one") == {}


def test_what_cannot_be_is_refused_and_says_why(hosts: Storage, tmp_path: Path) -> None:
    host = hosts.hosts[0]
    for path, text in (
        ("/proc/version", "needs O_DIRECT, which proc does not have"),
        (f"{tmp_path}/nothing", "the role leases makes it"),
        (str(tmp_path), "neither a file nor a block device"),
    ):
        with pytest.raises(interface.DriverRefused, match=text):
            driver(host, path=path).probe()
    with pytest.raises(interface.StoreUnavailable, match="does the daemon sanlock run"):
        driver(host, socket=f"{tmp_path}/none").probe()
    with pytest.raises(interface.DriverRefused, match="is the lockspace holdfast, not another"):
        driver(host, lockspace="another").probe()


def test_a_file_that_everybody_may_write_to_is_refused(hosts: Storage) -> None:
    hosts.path.chmod(0o666)
    try:
        with pytest.raises(interface.DriverRefused, match="chmod o-w"):
            driver(hosts.hosts[0]).probe()
    finally:
        hosts.path.chmod(0o600)


# -- block devices


@pytest.fixture(params=["512", "4096"])
def device(request: pytest.FixtureRequest, bare: Storage) -> Iterator[str]:
    """A block device of 128 MiB with sectors of so many bytes."""
    if os.geteuid() != 0:
        pytest.skip("loop devices need root")
    image = bare.base / f"image{request.param}"
    image.write_bytes(b"")
    os.truncate(image, 128 << 20)
    words = ["losetup", "--find", "--show", "--sector-size", request.param, str(image)]
    made = subprocess.run(words, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no loop devices: {made.stderr}")
    path = made.stdout.strip()
    yield path
    subprocess.run(["losetup", "--detach", path], check=True)


def test_an_empty_block_device_gets_a_lockspace_once(bare: Storage, device: str) -> None:
    parameters = bare.hosts[0].parameters(path=device)
    assert prepare.prepare(parameters, 1, 12, check=True)
    assert prepare.prepare(parameters, 1, 12)
    assert not prepare.prepare(parameters, 1, 12)
    with pytest.raises(interface.DriverRefused, match="is the lockspace holdfast, not theirs"):
        prepare.prepare({**parameters, "lockspace": "theirs"}, 1, 12)


def test_a_block_device_with_something_on_it_is_left_alone(bare: Storage, device: str) -> None:
    parameters = bare.hosts[0].parameters(path=device)
    with pytest.raises(interface.DriverRefused, match="ask for fewer resources"):
        prepare.prepare(parameters, 1, 1000)
    with open(device, "r+b", buffering=0) as file:
        file.seek((2 << 20) + 12345)
        file.write(b"precious")
        os.fsync(file.fileno())
    with pytest.raises(interface.DriverRefused, match=r"between 2 and 3 MiB.*not written over"):
        prepare.prepare(parameters, 1, 12)
    with open(device, "rb") as file:
        file.seek((2 << 20) + 12345)
        assert file.read(8) == b"precious"


def test_a_block_device_on_which_somebody_died_while_he_made_it(bare: Storage, device: str) -> None:
    parameters = bare.hosts[0].parameters(path=device)
    assert prepare.prepare(parameters, 1, 12)
    described = daemons.Daemon(prepare.Parameters(parameters)).described(1)
    assert described is not None
    # As if only the lockspace had been written.
    with open(device, "r+b", buffering=0) as file:
        file.seek(described.unit)
        file.write(bytes(3 * described.unit))
        os.fsync(file.fileno())
    assert prepare.prepare(parameters, 1, 12)
    assert not prepare.prepare(parameters, 1, 12)
