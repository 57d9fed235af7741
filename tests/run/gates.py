# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gates of ``make test``: one function each, in a process and a copy of the tree of its own.

A gate returns when all is well, raises Failure when not, and Skip when this machine can't run it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import argument_specs
import headers
import links
import machine

#: Lines of a gate's output with these beginnings are shown in the table, and below it.
NOTE = "gate-note: "
FACT = "gate-fact: "
#: What a gate prints before it tries again what failed.
AGAIN = "Waiting for the other gates."
SKIPPED = 77


class Failure(Exception):
    """The gate has found something wrong; the details are in *output*, which has been shown."""

    def __init__(self, reason: str, output: str = "") -> None:
        super().__init__(reason)
        self.output = output


#: So many failed tests may be tried again; more are no accident.
TRIED_AGAIN = 12


class Skip(Exception):
    """The gate can't run on this machine; says why."""


@dataclass(frozen=True)
class Place:
    """Where a gate works: the user's checkout (only to look at), its own copy, a folder for what it makes, the lock of all."""

    checkout: Path
    tree: Path
    work: Path
    everybody: IO[bytes]

    @property
    def collections(self) -> Path:
        """The folder for ANSIBLE_COLLECTIONS_PATH in which the copy lies."""
        return self.tree.parents[2]

    @property
    def waits(self) -> Path:
        """What is there while the gate waits, which is not counted as its time."""
        return self.work.with_suffix(".waits")

    def share(self) -> None:
        """Wait until nobody has the machine alone, and be one of those who work on it."""
        fcntl.flock(self.everybody, fcntl.LOCK_SH)

    def alone(self) -> None:
        """Wait until all other gates that run have ended, or wait for this too, and have the machine alone."""
        print(AGAIN, flush=True)
        self.waits.touch()
        fcntl.flock(self.everybody, fcntl.LOCK_EX)
        self.waits.unlink()


@dataclass(frozen=True)
class Gate:
    """A gate: what it means, how long it may take, what it must not share with others that run beside it."""

    name: str
    function: Callable[[Place], None]
    meaning: str
    timeout: int
    resources: frozenset[str]
    last: bool


GATES: dict[str, Gate] = {}


def gate(
    meaning: str, timeout: int = 300, resources: tuple[str, ...] = (), last: bool = False
) -> Callable[[Callable[[Place], None]], Callable[[Place], None]]:
    """Register a function as a gate. Those that take long stand first in this file, so that they start first."""

    def register(function: Callable[[Place], None]) -> Callable[[Place], None]:
        name = function.__name__
        GATES[name] = Gate(name, function, meaning, timeout, frozenset(resources), last)
        return function

    return register


def run(place: Place, *command: str | Path, cwd: Path | None = None, **environment: str) -> str:
    """Run a program, show what it prints, and give that. Failure when its exit code is not 0."""
    words = [str(word) for word in command]
    print("$", *words, flush=True)
    process = subprocess.Popen(
        words,
        cwd=cwd or place.tree,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(place.collections), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        lines.append(line)
    if process.wait() != 0:
        raise Failure(f"{words[0]} ended with {process.returncode}", "".join(lines))
    return "".join(lines)


def pytest(place: Place, *arguments: str, program: str | Path = "pytest", label: str = "") -> None:
    """Run pytest and put its closing line into the table."""
    temporary = place.work / "t"
    output = run(place, program, f"--basetemp={temporary}", "--color=no", "--durations=15", *arguments)
    closing = re.findall(r"^=* ?(\d+ (?:passed|skipped).*?) in .*$", output, re.MULTILINE)
    print(NOTE + label + (closing[-1] if closing else "no closing line"))


def pytest_twice(place: Place, *arguments: str, program: str | Path = "pytest", label: str = "") -> None:
    """Run pytest, and the few tests that failed once more, when no other gate runs: a busy machine is too slow for some.

    What failed once is told in the table, also when it went well then: it is to be looked into.
    """
    try:
        pytest(place, *arguments, program=program, label=label)
    except Failure as failure:
        failed = once_more(failure.output)
        if not failed:
            raise
        place.alone()
        pytest(place, *failed, program=program, label=f"{label}FAILED ONCE: {', '.join(failed)}; alone: ")
        place.share()


def once_more(output: str) -> list[str]:
    """What failed and is tried once more: a few tests, or one file, whose tests may hang on the same thing, as on a machine."""
    failed = sorted(set(re.findall(r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$", output, re.MULTILINE)))
    if len(failed) <= TRIED_AGAIN:
        return failed
    files = {name.partition("::")[0] for name in failed}
    return list(files) if len(files) == 1 else []


def existing(place: Place, *names: str) -> list[str]:
    """Those of the files and folders that are there."""
    return [name for name in names if (place.tree / name).exists()]


@gate("tests with real processes: tests/integration, tests/conformance, tests/chaos", 2400, ("processes",))
def integration(place: Place) -> None:
    folders = existing(place, "tests/integration", "tests/conformance", "tests/chaos")
    if not folders:
        raise Skip("there is no tests/integration")
    pytest_twice(place, "--numprocesses=4", "--dist=worksteal", *folders)


@gate("whole hosts with systemd, over ssh: create, check, converge, idempotence, verify, destroy", 1800, ("hosts",))
def molecule(place: Place) -> None:
    if not existing(place, "molecule"):
        raise Skip("there is no molecule/")
    if os.geteuid() != 0:
        raise Skip("test hosts are made of namespaces, which needs root")
    # Molecule looks for this file at the top of a git repository only, which the copy is not.
    settings = place.tree / ".config" / "molecule" / "config.yml"
    try:
        output = run(place, "molecule", "--base-config", settings, "test", "--all")
    except Failure as failure:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", failure.output)
        failed = re.findall(r"^(\w+)\s*: actions=.* failed=[1-9]", plain, re.MULTILINE)
        if len(failed) != 1:
            raise
        place.alone()
        output = run(place, "molecule", "--base-config", settings, "test", "--scenario-name", failed[0])
        print(f"{NOTE}FAILED ONCE: scenario {failed[0]}; alone: passed")
        place.share()
    if "no hosts matched" in output:
        raise Failure("a play had no hosts")


@gate("tests in emulated machines with kernels of their own: tests/machine", 1200)
def emulation(place: Place) -> None:
    folders = existing(place, "tests/machine")
    if not folders:
        raise Skip("there is no tests/machine")
    pytest_twice(place, *folders)


@gate("ansible-test sanity on every Python of this machine", 1800)
def sanity(place: Place) -> None:
    home = machine.cache() / "ansible-test"
    bootstrap_pip(place, home / ".ansible" / "test" / "cache")
    pythons = machine.host_pythons()
    run(place, "ansible-test", "sanity", "--venv", "--color", "no", HOME=str(home), PATH=search_path(pythons))
    core = run(place, "ansible-test", "--version").split()[-1]
    print(f"{NOTE}ansible-core {core}, modules on Python {', '.join(pythons)}")
    controller = sys.version.split()[0]
    print(f"{FACT}ansible-core {core}, controller Python {controller}: all gates but those named here")
    for version in pythons:
        print(f"{FACT}Python {version}: sanity tests of modules and module_utils")


def search_path(pythons: Mapping[str, str]) -> str:
    """A PATH on which ansible-test finds the controller's Python, and these, by their versions."""
    folders = dict.fromkeys(os.path.dirname(path) for path in (sys.executable, *pythons.values()))
    return os.pathsep.join([*folders, os.environ["PATH"]])


def outermost() -> dict[str, str]:
    """The oldest and the newest Python of this machine on which the modules must work, version to path."""
    found = list(machine.host_pythons().items())
    return dict([found[0], found[-1]])


def bootstrap_pip(place: Place, folder: Path) -> None:
    """Lay a get-pip script of our own where ansible-test looks before it downloads one.

    Its virtualenvs begin with a pip of a certain version, from a host that not every network reaches; the package
    index, which all the rest needs anyway, has the same pip as a wheel.
    """
    from ansible_test._internal import python_requirements  # type: ignore[import-untyped]

    source = Path(python_requirements.__file__).read_text()
    version = re.search(r"default_packages = dict\(\s*pip='([^']+)'", source)
    if not version:
        raise Failure("ansible-test has changed the way in which it asks for pip")
    wheel = f"pip-{version[1]}-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / wheel).exists():
        run(place, "pip", "download", "--quiet", "--no-deps", "--dest", folder, f"pip=={version[1]}")
    script = (Path(__file__).parent / "get_pip.py").read_text().replace("WHEEL", wheel)
    (folder / f"get_pip_{version[1].replace('.', '_')}.py").write_text(script)


@gate("ansible-test integration: the modules, on the oldest and the newest Python of this machine as a host's", 900)
def targets(place: Place) -> None:
    if not existing(place, "tests/integration/targets"):
        raise Skip("there is no tests/integration/targets")
    controller = ".".join(map(str, sys.version_info[:2]))
    pythons = outermost()
    for version in pythons:
        output = run(
            place,
            *("ansible-test", "integration", "--color", "no", "--continue-on-error", "--retry-on-error"),
            *("--controller", f"origin:python={controller}", "--target", f"controller:python={version}"),
            HOME=str(place.work / "home"),
            PATH=search_path(pythons),
        )
        played = re.findall(r"^Running (\w+) integration test role$", output, re.MULTILINE)
        print(f"{NOTE}Python {version}: {len(played)} targets")
        print(f"{FACT}Python {version}: integration targets ({', '.join(played)})")


@gate("unit tests", 900)
def unit(place: Place) -> None:
    pytest_twice(place, "--numprocesses=2", "tests/unit")


@gate("unit tests of what runs on hosts, on the oldest and the newest Python of this machine", 900)
def pythons(place: Place) -> None:
    for version, python in outermost().items():
        venv = machine.virtualenv(python, place.tree / "tests" / "requirements-hosts.txt")
        folders = existing(place, "tests/unit/module_utils")
        program = venv / "bin" / "pytest"
        pytest_twice(place, "--numprocesses=2", *folders, program=program, label=f"Python {version}: ")
        print(f"{FACT}Python {version}: unit tests of module_utils")


@gate("Galaxy's own importer on the tarball of the last commit")
def importer(place: Place) -> None:
    tarball = build(place.checkout, place.work, place.work)
    config = place.work / "importer.cfg"
    config.write_text("[galaxy-importer]\nLOG_LEVEL_MAIN = INFO\nCHECK_REQUIRED_TAGS = True\n")
    output = run(
        place,
        "python",
        "-m",
        "galaxy_importer.main",
        tarball,
        cwd=place.work,
        GALAXY_IMPORTER_CONFIG=str(config),
    )
    if "Importer processing completed successfully" not in output:
        raise Failure("the importer did not complete")
    complaints = re.findall(r"^(?:ERROR|WARNING):.*$", output, re.MULTILINE)
    if complaints:
        raise Failure(f"{len(complaints)} complaints of the importer, the first: {complaints[0]}")


@gate("ansible-lint (profile production, strict) and yamllint")
def lint(place: Place) -> None:
    run(place, "yamllint", "--strict", ".")
    run(place, "ansible-lint", "--offline", "--profile", "production", "--strict")


@gate("build from git archive, install, verify, and use what was installed")
def package(place: Place) -> None:
    tarball = build(place.checkout, place.work, place.work)
    with tarfile.open(tarball) as archive:
        tops = {name.partition("/")[0] for name in archive.getnames()}
    unwanted = tops & {"tests", "molecule", "scripts", "Makefile", "pyproject.toml", ".ci", ".git", ".venv", ".cache"}
    if unwanted:
        raise Failure(f"the tarball holds {', '.join(sorted(unwanted))}")
    top = place.work / "installed"
    installed = top / "ansible_collections" / "holdfast" / "supervision"
    # This search path alone, so that nothing of the checkout can help.
    only = {"ANSIBLE_COLLECTIONS_PATH": str(top)}
    run(place, "ansible-galaxy", "collection", "install", tarball, "-p", top, "--offline", cwd=place.work, **only)
    run(place, "ansible-galaxy", "collection", "verify", "holdfast.supervision", "--offline", cwd=place.work, **only)
    for entry in installed.iterdir():
        if entry.name not in ("meta", "plugins", "roles", "playbooks", "MANIFEST.json", "FILES.json"):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for module in sorted((installed / "plugins" / "modules").glob("[a-z]*.py")):
        run(place, "ansible-doc", f"holdfast.supervision.{module.stem}", cwd=place.work, **only)
    for role in sorted((installed / "roles").glob("*/meta/argument_specs.yml")):
        run(place, "ansible-doc", "-t", "role", f"holdfast.supervision.{role.parts[-3]}", cwd=place.work, **only)
    for playbook in sorted((installed / "playbooks").glob("*.yml")):
        name = f"holdfast.supervision.{playbook.stem}"
        run(place, "ansible-playbook", "--syntax-check", "-i", "localhost,", name, cwd=place.work, **only)
    print(f"{NOTE}{tarball.name}, {tarball.stat().st_size // 1024} KB")


def build(checkout: Path, work: Path, target: Path) -> Path:
    """Build the tarball of the last commit, from what git has of it alone, into the folder ``target``."""
    source = work / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=checkout, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "--warning=no-timestamp", "-C", source], input=archive, check=True)
    target.mkdir(parents=True, exist_ok=True)
    command = ["ansible-galaxy", "collection", "build", "--force", "--output-path", str(target)]
    done = subprocess.run(command, cwd=source, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"ansible-galaxy collection build failed:\n{done.stdout}{done.stderr}")
    return max(target.glob("holdfast-supervision-*.tar.gz"), key=lambda path: path.stat().st_mtime)


@gate("plugin, role and collection documentation, the changelog, and links between pages")
def docs(place: Place) -> None:
    run(place, "antsibull-docs", "lint-collection-docs", ".", "--plugin-docs", "--validate-collection-refs=self")
    run(place, "antsibull-changelog", "lint")
    complain(links.problems(place.tree), "links or anchors lead nowhere")


@gate("static types")
def mypy(place: Place) -> None:
    # These folders are no packages of the collection, so each is a program of its own to look at.
    settings = ["--config-file", str(place.tree / "pyproject.toml"), "--cache-dir", str(place.work / "cache")]
    collection = "ansible_collections/holdfast/supervision"
    parts = [f"{collection}/{name}" for name in existing(place, "plugins")]
    run(place, "mypy", *settings, *parts, cwd=place.collections, MYPYPATH=str(place.collections))
    for program in existing(place, "tests/run", "tests/hosts", "molecule/files"):
        run(place, "mypy", *settings, program, MYPYPATH=program)


@gate("ruff: lint and format")
def ruff(place: Place) -> None:
    run(place, "ruff", "check", "--no-cache", ".")
    run(place, "ruff", "format", "--no-cache", "--check", "--diff", ".")


@gate("roles: argument specs agree with defaults")
def specs(place: Place) -> None:
    complain(argument_specs.problems(place.tree), "differences between argument specs and defaults")


@gate("licence headers, empty packages, no path of this machine")
def licences(place: Place) -> None:
    complain(headers.problems(place.tree), "files with wrong or missing headers")


@gate("the checkout is as clean as before", last=True)
def clean(place: Place) -> None:
    before = set((place.work.parent / "status").read_text().splitlines())
    if before and os.environ.get("CI") == "true":
        raise Failure("the checkout was not clean at the start")
    now = run(place, "git", "status", "--porcelain", cwd=place.checkout).splitlines()
    if os.environ.get("CI") == "true" and set(now) - before:
        raise Failure("the run has changed the checkout")
    print(f"{NOTE}{len(now)} changes")


def complain(problems: list[str], what: str) -> None:
    """Show the problems; Failure when there are any."""
    print(*problems, sep="\n")
    if problems:
        raise Failure(f"{len(problems)} {what}")
