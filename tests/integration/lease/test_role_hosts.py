# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Three bare hosts with systemd, over ssh: site.yml makes an etcd with TLS of them, and a service that runs on one of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from labs import Lab
from waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="test hosts are made of namespaces, which needs root")

NAMES = ("a", "b", "c")
REPOSITORY = "/srv/packages"
VARIABLES: dict[str, Any] = {
    "leases_driver": "etcd",
    # On a busy machine an election takes its time.
    "leases_ttl": "15s",
    "leases_etcd_members": list(NAMES),
    "leases_etcd_repository": REPOSITORY,
    "leases_etcd_user": "leases",
    "leases_etcd_password": "geheim-leases",
    "leases_etcd_root_password": "geheim-root",
    "services_definitions": {"beat": {"command": ["/bin/sleep", "100000"], "lease": {}, "log": False}},
}


class Site:
    """The hosts, and a controller."""

    def __init__(self, folder: Path, collections: Path) -> None:
        self.lab = Lab("etcd")
        self._folder = folder
        self._collections = collections

    def up(self, *names: str) -> None:
        self.lab.do("up", *names)
        for name in names:
            self.lab.put_packages(name, REPOSITORY, "etcd-server", "openssl")
        (self._folder / "hosts.yml").write_text(self.lab.do("inventory"))

    def play(self, *options: str, **variables: Any) -> tuple[int, str]:
        (self._folder / "variables.yml").write_text(yaml.safe_dump({**VARIABLES, **variables}))
        command = [sys.executable, "-m", "ansible", "playbook", "-i", "hosts.yml", "-e", "@variables.yml"]
        environment = {
            **os.environ,
            "HOME": str(self._folder),
            "ANSIBLE_HOME": str(self._folder / "home"),
            "ANSIBLE_COLLECTIONS_PATH": str(self._collections),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
        }
        done = subprocess.run(
            [*command, *options, "holdfast.supervision.site"],
            cwd=self._folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def guard(self, name: str) -> dict[str, Any]:
        """What the guard of the service has written about itself on a host."""
        found = self.lab.shell(name, "cat /run/holdfast/guards/beat/state.json 2>/dev/null || echo '{}'")
        return dict(json.loads(found))

    def active(self) -> list[str]:
        return [name for name in NAMES if self.guard(name).get("phase") == "active"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, collections_path: Path) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("etcd"), collections_path)
    try:
        made.up(*NAMES)
        yield made
    finally:
        made.lab.do("down")


@pytest.fixture(scope="module")
def deployed(site: Site) -> str:
    """What the first run has said, after which the hosts have an etcd and the service."""
    code, output = site.play()
    assert code == 0, output
    return output


def test_an_etcd_is_deployed_and_a_member_that_lost_its_disk_is_replaced(site: Site, deployed: str) -> None:
    output = deployed
    assert "versions 3.4.23 have known faults that touch leases: early revoke" in output
    for name in NAMES:
        assert "PRIVATE KEY" not in output and "geheim" not in output
        folder = "/etc/holdfast/etcd"
        modes = site.lab.shell(name, f"cd {folder}; stat -c '%n %a %U' *.key *password").splitlines()
        keys = ["ca.key 600 root", "client.key 600 root", "member.key 600 etcd"]
        assert modes == [*keys, "password 600 root", "root.password 600 root"]
        assert not site.lab.shell(name, "grep -rl 'gehei[m]' /proc/[0-9]*/cmdline /etc/holdfast/services || :")
        # Nobody begins a cluster anew under an identity that has voted already.
        assert '"initial-cluster-state": "existing"' in site.lab.shell(name, f"cat {folder}/etcd.json")
    holder = wait_until(site.active)
    assert len(holder) == 1
    before = site.guard(holder[0])

    code, output = site.play("--tags", "bootstrap_preflight,leases")
    assert code == 0 and output.count("changed=0") == len(NAMES), output
    assert site.guard(holder[0])["resources"] == before["resources"]

    # A host goes, with its disk and what it knew; another one of that name comes.
    lost = next(name for name in NAMES if name not in holder)
    site.lab.do("down", lost)
    site.up(lost)
    code, output = site.play()
    assert code == 0, output
    kept = [line for line in output.splitlines() if "changed=0" in line and line.split()[0] != lost]
    assert len(kept) == 2, output
    members = site.lab.shell(
        lost,
        "cd /etc/holdfast/etcd; python3 - <<'END'\n"
        "import json, ssl, urllib.request\n"
        "context = ssl.create_default_context(cafile='ca.pem'); context.load_cert_chain('client.pem', 'client.key')\n"
        "request = urllib.request.Request('https://127.0.0.1:2379/v3/cluster/member/list', b'{}')\n"
        "print(urllib.request.urlopen(request, context=context, timeout=10).read().decode())\n"
        "END",
    )
    assert sorted(one["name"] for one in json.loads(members)["members"]) == list(NAMES)
    # The service has not noticed.
    after = site.guard(holder[0])
    assert (after["phase"], after["resources"], after["tree"]) == ("active", before["resources"], before["tree"])
    assert wait_until(lambda: site.guard(lost).get("phase")) == "standby"


@pytest.mark.usefixtures("deployed")
def test_hosts_that_do_not_reach_the_same_store_are_told(site: Site) -> None:
    apart = {"prefix": "/holdfast/leases/{{ inventory_hostname }}"}
    code, output = site.play(
        "--tags",
        "bootstrap_preflight,leases_prove",
        leases_parameters="{{ __leases_etcd_parameters | combine(apart) }}",
        apart=apart,
    )
    text = " ".join(output.split())
    assert code != 0
    assert "a: leases_driver=etcd does not exclude: proof.c was held for c, and a got it too" in text, output
    assert "Look whether leases_parameters lead to one and the same store on both hosts" in text


@pytest.mark.usefixtures("deployed")
def test_an_etcd_goes_when_nobody_depends_on_it_any_more(site: Site) -> None:
    away = ("--tags", "bootstrap_preflight,leases")
    code, output = site.play(*away, leases_state="absent")
    assert code != 0 and "a: leases_driver=etcd, leases_state=absent: beat of this host still holds leases" in output, (
        output
    )
    for name in NAMES:
        assert site.lab.shell(name, "systemctl is-active etcd") == "active"
        site.lab.shell(name, "holdfast stop --all")
    code, output = site.play(*away, leases_state="absent")
    assert code == 0, output
    for name in NAMES:
        found = site.lab.shell(name, "ls /etc/holdfast; systemctl is-active etcd || :; ls /var/lib/etcd")
        assert found.splitlines() == ["services", "inactive", "holdfast"]
