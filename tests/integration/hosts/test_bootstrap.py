# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host without Python and without a way out, which has packages in a folder: the role bootstrap makes it ready."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import typing as t
import uuid
from pathlib import Path

import pytest
import yaml

if t.TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="test hosts are made of namespaces, which needs root")

HOSTS = Path(__file__).resolve().parents[2] / "hosts" / "hosts.py"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holdfast-supervision" / "packages"
PYTHON = ("libpython3-stdlib", "libpython3.11-minimal", "libpython3.11-stdlib", "python3", "python3-minimal")
PYTHON += ("python3.11", "python3.11-minimal")


class Bare:
    """A host that nobody has put a Python on; `repository` is a folder there with its packages."""

    repository = "/srv/packages"

    def __init__(self, folder: Path, collections: Path) -> None:
        self.lab = f"bare-{uuid.uuid4().hex[:10]}"
        self.folder = folder
        self.collections = collections

    def hosts(self, *words: str, stdin: bytes = b"") -> str:
        command = [sys.executable, os.fspath(HOSTS), "--lab", self.lab, *words]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=180, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def shell(self, script: str, stdin: bytes = b"") -> str:
        return self.hosts("exec", "bare", "--", "sh", "-ec", script, stdin=stdin)

    def up(self) -> None:
        self.hosts("up", "--init", "plain", "bare")
        packages = [deb for name in PYTHON for deb in CACHE.glob(f"{name}_*.deb")]
        assert len(packages) == len(PYTHON)
        archive = subprocess.run(
            ["tar", "-C", CACHE, "-c", *(deb.name for deb in packages)], capture_output=True, check=True
        ).stdout
        self.shell(f"mkdir {self.repository}; tar -C {self.repository} -x", archive)
        index = "".join(_stanza(deb) for deb in packages)
        self.shell(f"cat >{self.repository}/Packages", index.encode())
        # With all that needs one: a package manager does nothing more on a host where something lacks what it depends on.
        self.shell("dpkg --purge --force-depends $(dpkg-query -W -f '${Package} ' '*python3*' supervisor)")
        self.shell("! test -e /usr/bin/python3")
        inventory = self.hosts("inventory")
        (self.folder / "inventory.yml").write_text(inventory)

    def play(self, *arguments: str, **variables: t.Any) -> str:
        """Run the role, then a module; gives the output of a run that must succeed."""
        code, output = self.try_play(*arguments, **variables)
        assert code == 0, output
        return output

    def try_play(self, *arguments: str, **variables: t.Any) -> tuple[int, str]:
        tasks = [{"name": "A module", "ansible.builtin.ping": {}}]
        play = {"hosts": "all", "gather_facts": False, "vars": variables, "roles": ["holdfast.supervision.bootstrap"]}
        (self.folder / "play.yml").write_text(yaml.safe_dump([{**play, "tasks": tasks}]))
        command = ["ansible-playbook", "-i", "inventory.yml", *arguments, "play.yml"]
        environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": os.fspath(self.collections), "ANSIBLE_NOCOLOR": "1"}
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


def _stanza(deb: Path) -> str:
    control = subprocess.run(["dpkg-deb", "-f", deb], capture_output=True, text=True, check=True).stdout.strip()
    content = deb.read_bytes()
    return f"{control}\nFilename: ./{deb.name}\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n\n"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, collections_path: Path) -> Iterator[Bare]:
    host = Bare(tmp_path_factory.mktemp("bare"), collections_path)
    try:
        host.up()
        yield host
    finally:
        host.hosts("down")


def test_a_host_without_python_becomes_one_that_modules_run_on(bare: Bare) -> None:
    code, output = bare.try_play(bootstrap_install=False)
    assert code != 0
    assert "bare: there is no working Python at /usr/bin/python3: install python3" in output

    code, output = bare.try_play(bootstrap_repository="/srv/nothing")
    assert code != 0
    assert "did not install python3 from /srv/nothing" in output
    assert "/srv/nothing" in bare.shell("echo /srv/nothing; ! test -e /usr/bin/python3")

    output = bare.play("--check", "--diff", bootstrap_repository=bare.repository)
    assert "+python3" in output
    assert "bare has no Python. It would get python3" in output
    assert "A module" not in output
    bare.shell("! test -e /usr/bin/python3")

    output = bare.play(bootstrap_repository=bare.repository)
    assert "ok: [bare]" in output.partition("TASK [A module]")[2]
    assert bare.shell("python3 -c 'print(40 + 2)'").strip() == "42"
    assert bare.shell("find /tmp -mindepth 1 -name 'tmp.*'") == ""

    again = bare.play(bootstrap_repository=bare.repository)
    assert "changed=0" in again
    assert "There is a Python" not in again


def test_further_packages_are_installed_once(bare: Bare) -> None:
    bare.shell("dpkg --purge --force-depends libpython3-stdlib")
    first = bare.play(bootstrap_repository=bare.repository, bootstrap_packages=["libpython3-stdlib"])
    assert "changed=1" in first
    second = bare.play(bootstrap_repository=bare.repository, bootstrap_packages=["libpython3-stdlib"])
    assert "changed=0" in second


def test_a_name_that_is_an_option_reaches_no_package_manager(bare: Bare) -> None:
    code, output = bare.try_play(bootstrap_packages=["--force-yes"])
    assert code != 0
    assert "'--force-yes' is no name of a package" in output
