# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Installing packages with a host's shell alone: what is asked, and exactly what each package manager is told.

The scripts run for real; the package managers of other distributions are stand-ins that write down their arguments.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from ansible_collections.holdfast.supervision.plugins.plugin_utils import packages

TOOLS = ("cat", "chmod", "env", "grep", "id", "mkdir", "mktemp", "rm", "sh")


class Machine:
    """A host whose PATH has a shell's usual tools and the stand-ins that a test makes."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.told = folder / "told"
        for tool in TOOLS:
            (self.bin / tool).symlink_to(
                next(Path(top, tool) for top in ("/usr/bin", "/bin") if Path(top, tool).exists())
            )

    def has(self, name: str, body: str = "") -> None:
        path = self.bin / name
        path.write_text(f'#!/bin/sh\nfor word in "$@"; do echo "$word"; done >>"{self.told}"\n{body}\n')
        path.chmod(0o755)

    def run(self, script: str) -> str:
        environment = {"PATH": os.fspath(self.bin)}
        return subprocess.run(
            ["/bin/sh", "-c", script], capture_output=True, text=True, env=environment, check=True
        ).stdout

    def was_told(self) -> list[str]:
        return self.told.read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_host_without_a_package_manager_says_so(machine: Machine) -> None:
    found = packages.read(machine.run(packages.look(["python3"], "")))
    assert (found.manager, found.installed) == ("", ())
    assert found.uid == os.geteuid()


def test_debian_tells_what_is_installed(machine: Machine) -> None:
    machine.has("apt-get")
    # Removed with its configuration left is not installed.
    machine.has("dpkg-query", 'case "$4" in here) echo installed;; gone) echo config-files;; *) exit 1;; esac')
    found = packages.read(machine.run(packages.look(["here", "gone", "never"], "")))
    assert (found.manager, found.installed) == ("apt-get", ("here",))


@pytest.mark.parametrize("manager", ["dnf", "microdnf", "yum"])
def test_red_hat_tells_what_is_installed(machine: Machine, manager: str) -> None:
    machine.has(manager)
    machine.has("rpm", '[ "$3" = here ]')
    found = packages.read(machine.run(packages.look(["here", "never"], "")))
    assert (found.manager, found.installed) == (manager, ("here",))


def test_alpine_tells_what_is_installed(machine: Machine) -> None:
    machine.has("apk", '[ "$3" = here ]')
    found = packages.read(machine.run(packages.look(["here", "never"], "")))
    assert (found.manager, found.installed) == ("apk", ("here",))


def test_what_exists_is_seen(machine: Machine, tmp_path: Path) -> None:
    there = tmp_path / "it's there"
    assert packages.read(machine.run(packages.look([], str(there)))).exists == ""
    there.touch()
    assert packages.read(machine.run(packages.look([], str(there)))).exists == str(there)


def test_apt_gets_the_lists_and_installs(machine: Machine) -> None:
    machine.has("apt-get")
    machine.run(packages.install("apt-get", ["python3", "g++"], ""))
    common = ["-q", "-o", "DPkg::Lock::Timeout=120"]
    assert machine.was_told() == [
        *[*common, "update"],
        *[*common, "install", "--yes", "--no-install-recommends", "--no-remove", "python3", "g++"],
    ]


@pytest.mark.parametrize(
    ("repository", "line"),
    [
        ("/srv/packages", "deb [trusted=yes] file:/srv/packages ./"),
        ("https://packages.example.org/d", "deb https://packages.example.org/d ./"),
        (
            "deb [signed-by=/k.gpg] https://x.example.org stable main",
            "deb [signed-by=/k.gpg] https://x.example.org stable main",
        ),
    ],
)
def test_apt_asks_the_given_repository_alone(machine: Machine, tmp_path: Path, repository: str, line: str) -> None:
    seen = tmp_path / "seen"
    machine.has(
        "apt-get",
        f'for word in "$@"; do case "$word" in Dir::Etc::SourceList=*) cat "${{word#*=}}" >"{seen}";; esac; done',
    )
    machine.run(packages.install("apt-get", ["python3"], repository))
    assert seen.read_text() == f"{line}\n"
    words = machine.was_told()
    assert "Dir::Etc::SourceParts=/dev/null" in words
    [lists] = {word.partition("=")[2] for word in words if word.startswith("Dir::State::Lists=")}
    assert not Path(lists).exists()


def test_apt_does_not_install_when_the_lists_fail(machine: Machine) -> None:
    machine.has("apt-get", "exit 100")
    subprocess.run(
        ["/bin/sh", "-c", packages.install("apt-get", ["python3"], "")],
        env={"PATH": os.fspath(machine.bin)},
        check=False,
    )
    assert "install" not in machine.was_told()


def test_dnf_installs(machine: Machine) -> None:
    machine.has("dnf")
    machine.run(packages.install("dnf", ["python3.11"], ""))
    assert machine.was_told() == ["--assumeyes", "--setopt=install_weak_deps=0", "install", "python3.11"]


def test_dnf_asks_the_given_repository_alone(machine: Machine) -> None:
    machine.has("dnf")
    machine.run(packages.install("dnf", ["python3"], "/srv/packages"))
    assert machine.was_told() == [
        "--assumeyes",
        "--setopt=install_weak_deps=0",
        "--disablerepo=*",
        "--repofrompath=holdfast-bootstrap,file:///srv/packages",
        "--enablerepo=holdfast-bootstrap",
        "--setopt=holdfast-bootstrap.gpgcheck=0",
        "install",
        "python3",
    ]


@pytest.mark.parametrize(
    ("repository", "lines"),
    [
        ("/srv/packages", ["baseurl=file:///srv/packages", "enabled=1", "gpgcheck=0"]),
        ("https://packages.example.org/r", ["baseurl=https://packages.example.org/r", "enabled=1"]),
    ],
)
def test_microdnf_which_takes_no_address_finds_it_in_a_folder(
    machine: Machine, tmp_path: Path, repository: str, lines: list[str]
) -> None:
    seen = tmp_path / "seen"
    machine.has(
        "microdnf",
        f'for word in "$@"; do case "$word" in --setopt=reposdir=*) cat "${{word##*=}}"/* >"{seen}";; esac; done',
    )
    machine.run(packages.install("microdnf", ["python3"], repository))
    first, second, folder, *rest = machine.was_told()
    assert [first, second, *rest] == ["--assumeyes", "--setopt=install_weak_deps=0", "install", "python3"]
    assert seen.read_text().splitlines() == ["[holdfast-bootstrap]", "name=holdfast-bootstrap", *lines]
    assert not Path(folder.partition("reposdir=")[2]).exists()


def packages_of_roles() -> dict[str, list[str]]:
    """What the roles install by themselves, as their defaults and variables name it."""
    roles = Path(__file__).resolve().parents[3] / "roles"
    suites = yaml.safe_load((roles / "supervisor" / "vars" / "main.yml").read_text())["__supervisor_packages"]
    python = yaml.safe_load((roles / "bootstrap" / "defaults" / "main.yml").read_text())["bootstrap_python_packages"]
    return {"python": python, **{backend: [name] for backend, name in suites.items()}}


@pytest.mark.parametrize("what", packages_of_roles())
@pytest.mark.parametrize(
    ("manager", "words"),
    [
        ("apt-get", ["install", "--yes", "--no-install-recommends", "--no-remove"]),
        ("dnf", ["--assumeyes", "--setopt=install_weak_deps=0", "install"]),
        ("microdnf", ["--assumeyes", "--setopt=install_weak_deps=0", "install"]),
        ("yum", ["--assumeyes", "--setopt=install_weak_deps=0", "install"]),
        ("apk", ["add", "--no-cache"]),
    ],
)
def test_what_the_roles_install_by_themselves(machine: Machine, manager: str, words: list[str], what: str) -> None:
    names = packages_of_roles()[what]
    packages.check(names, "")
    machine.has(manager)
    machine.run(packages.install(manager, names, ""))
    assert machine.was_told()[-len(words) - len(names) :] == [*words, *names]


def test_what_comes_over_the_network_is_checked(machine: Machine) -> None:
    machine.has("dnf")
    machine.has("apk")
    machine.run(packages.install("dnf", ["python3"], "https://packages.example.org"))
    machine.run(packages.install("apk", ["python3"], "https://packages.example.org"))
    assert not {"--setopt=holdfast-bootstrap.gpgcheck=0", "--allow-untrusted"} & set(machine.was_told())


def test_apk_installs(machine: Machine) -> None:
    machine.has("apk")
    machine.run(packages.install("apk", ["python3"], ""))
    assert machine.was_told() == ["add", "--no-cache", "python3"]


def test_apk_asks_the_given_repository_alone(machine: Machine) -> None:
    machine.has("apk")
    machine.run(packages.install("apk", ["python3"], "/srv/packages"))
    repository = ["--repositories-file", "/dev/null", "--repository", "/srv/packages"]
    assert machine.was_told() == ["add", "--no-cache", *repository, "--allow-untrusted", "python3"]


@pytest.mark.parametrize(
    "name", ["", "-y", "--allow-downgrades", "a b", "a;b", "$(id)", "python3\n", "../x.deb", "x" * 200]
)
def test_what_is_no_name_of_a_package_is_refused(name: str) -> None:
    with pytest.raises(packages.PackageError, match="no name of a package"):
        packages.check([name], "")


@pytest.mark.parametrize(
    "repository", ["srv/packages", "ftp://x", "/srv/a b", "deb", "deb https://x", "deb x y\ndeb z w", "-o"]
)
def test_what_is_no_repository_is_refused(repository: str) -> None:
    with pytest.raises(packages.PackageError, match="is no repository"):
        packages.check(["python3"], repository)


def test_a_line_of_apt_is_for_apt(machine: Machine) -> None:
    with pytest.raises(packages.PackageError, match="dnf can't use a line of apt's"):
        packages.install("dnf", ["python3"], "deb https://x.example.org stable main")
