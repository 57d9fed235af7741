# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module etcd_users on a real etcd with TLS: who may do what, and when authentication is enabled."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from etcds import ETCD, Cluster, certificates, free_ports
from guarded import Guards

from ansible_collections.holdfast.supervision.plugins.module_utils._lease._etcd.membership import etcd_members
from ansible_collections.holdfast.supervision.plugins.module_utils._lease._etcd.users import etcd_users
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.etcd import Etcd
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.interface import LeaseError

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces need root"),
    pytest.mark.skipif(not ETCD, reason="there is no etcd"),
]

LONG = 30


class Secured:
    """An etcd that wants certificates, and the files with the passwords."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        certificates(folder)
        pki = {"cert-file": "server.pem", "key-file": "server.key", "trusted-ca-file": "ca.pem"}
        options = {name: str(folder / file) for name, file in pki.items()}
        self.cluster = Cluster(options={**options, "client-cert-auth": "true", "bcrypt-cost": "4"}, scheme="https")
        self.cluster.context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        self.cluster.context.load_cert_chain(str(folder / "client.pem"), str(folder / "client.key"))
        self.cluster.start()
        self.write("password", "geheim")
        self.write("root.password", "geheimer")

    def write(self, name: str, password: str) -> str:
        path = self.folder / name
        path.write_text(f"{password}\n")
        path.chmod(0o600)
        return str(path)

    def reached(self) -> dict[str, Any]:
        files = {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.key"}
        return {
            "endpoints": [self.cluster.endpoints],
            **{name: str(self.folder / file) for name, file in files.items()},
        }

    def users(self, check_mode: bool = False, **options: Any) -> dict[str, Any]:
        files = {"password_file": "password", "root_password_file": "root.password"}
        paths = {name: str(self.folder / file) for name, file in files.items()}
        given = {"prefix": "/ours", "user": "leases", **self.reached(), **paths, **options}
        return etcd_users(given, check_mode)

    def driver(self, **parameters: Any) -> Etcd:
        known = {"user": "leases", "password_file": str(self.folder / "password")}
        return Etcd("t", {**self.reached(), "prefix": "/ours", "ttl": 3, **known, **parameters})


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    made = Secured(tmp_path)
    yield made
    made.cluster.close()


def gets(driver: Etcd) -> str:
    """Why a lease is not got, "" if it is."""
    try:
        driver.register("r", "exclusive")
        driver.acquire()
        driver.release()
    except LeaseError as error:
        return str(error)
    finally:
        driver.free()
    return ""


def test_leases_get_a_user_who_may_use_them_and_nothing_else(guards: Guards, secured: Secured) -> None:
    foretold = secured.users(check_mode=True)
    assert foretold["changed"]
    assert "not enabled" in gets(secured.driver())
    done = secured.users()
    assert done["actions"] == foretold["actions"]
    assert done["actions"][-1] == "enable authentication"
    assert "geheim" not in str(done)
    assert secured.users() == {"changed": False, "actions": []}
    assert gets(secured.driver()) == ""
    assert "permission denied" in gets(secured.driver(prefix="/theirs"))
    assert "permission denied" in gets(secured.driver(prefix="/our"))
    # Nobody gets in any more who has a certificate only.
    assert gets(Etcd("t", {**secured.reached(), "prefix": "/ours", "ttl": 3}))
    words = {
        **secured.reached(),
        "user": "leases",
        "password_file": str(secured.folder / "password"),
        "prefix": "/ours",
    }
    words["endpoints"] = secured.cluster.endpoints
    guards.driver = ("--driver=etcd", "--ttl=3", *(f"--parameter={name}={value}" for name, value in words.items()))
    guards.start("a")
    guards.until("a", "active")


def test_another_password_is_set_and_another_prefix_takes_the_place_of_the_first(secured: Secured) -> None:
    secured.users()
    secured.write("password", "anders")
    done = secured.users(check_mode=True)
    assert done == {"changed": True, "actions": ["set the password of leases"]}
    assert "user leases is refused" in gets(secured.driver())
    assert secured.users()["actions"] == ["set the password of leases"]
    assert gets(secured.driver()) == ""
    done = secured.users(prefix="/elsewhere")
    assert done["actions"] == ["let leases use /elsewhere/", "let leases use nothing else"]
    assert "permission denied" in gets(secured.driver())
    assert gets(secured.driver(prefix="/elsewhere")) == ""


def test_roots_password_has_to_be_the_one_that_etcd_knows(secured: Secured) -> None:
    secured.users()
    other = secured.write("other", "falsch")
    done = secured.users(root_password_file=other)
    assert done["failed"]
    assert "user root is refused" in done["msg"] and "etcdctl user passwd root" in done["msg"]
    assert "falsch" not in done["msg"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"user": "root"}, "root may do everything"),
        ({"password_file": "/nowhere/x"}, "/nowhere/x"),
    ],
)
def test_what_cannot_be_is_refused_before_authentication_is_enabled(
    secured: Secured, options: dict[str, str], text: str
) -> None:
    done = secured.users(**options)
    assert done["failed"] and text in done["msg"]
    assert "not enabled" in gets(secured.driver())


def test_an_interrupted_beginning_is_finished(secured: Secured) -> None:
    # The first half of it, as it was done by a run that was killed.
    secured.cluster.post("/v3/auth/role/add", {"name": "root"})
    secured.cluster.post("/v3/auth/user/add", {"name": "root", "password": "unknown"})
    secured.cluster.post("/v3/auth/role/add", {"name": "leases"})
    secured.users()
    assert gets(secured.driver()) == ""
    assert secured.users()["changed"] is False


def test_members_are_asked_and_changed_by_root_before_and_after(secured: Secured) -> None:
    given = {**secured.reached(), "user": "root", "password_file": str(secured.folder / "root.password")}
    given.update(members=None, join=None, timeout=30)
    assert [one["name"] for one in etcd_members(given, False)["members"]] == ["m0"]
    secured.users()
    assert [one["name"] for one in etcd_members(given, False)["members"]] == ["m0"]
    (port,) = free_ports(1)
    peers = {"m0": secured.cluster.members[0].peer_url, "m1": f"http://127.0.0.1:{port}"}
    done = etcd_members({**given, "members": peers, "join": "m1"}, False)
    assert done.get("added") == peers["m1"], done
