# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python3 tests/run [GATE ...]``: prepare the machine, run the gates side by side, print one table.

Each gate is a process of its own with its own copy of the tree, a log file below tests/output and a time-out. The
last line is ``N passed, M failed``, with ``, K skipped`` where gates can't run on this machine; the exit code is
0 only when nothing failed and, with CI=true, nothing was skipped.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import contain
import gates
import machine

CHECKOUT = Path(__file__).resolve().parent.parent.parent
OUTPUT = CHECKOUT / "tests" / "output"
SLOTS = max(2, os.cpu_count() or 1)
SHOWN_LINES = 400

#: At the very end: so many lines of each failed gate, so long at most, for who sees the end of the output alone.
SHOWN_CAUSES = 8
CAUSE_LENGTH = 160


@dataclass
class Run:
    """One gate while it runs and after."""

    gate: gates.Gate
    log: Path
    started: float = 0.0
    seconds: float = 0.0
    waited: float = 0.0
    result: str = ""
    note: str = ""
    facts: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout


def copy_of_tree(target: Path) -> None:
    """Copy what git knows or would know (no ignored files) of the checkout as it is now."""
    for name in git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        source = CHECKOUT / name
        if name and (source.is_symlink() or source.exists()):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            # A file that goes while we copy is somebody else's edit, not our failure.
            with contextlib.suppress(FileNotFoundError):
                shutil.copy2(source, target / name, follow_symlinks=False)


def environment(venv: Path, work: Path) -> dict[str, str]:
    """What every gate gets: the tools first on PATH, and nothing of the caller's Ansible or Python settings."""
    unwanted = (
        "ANSIBLE_",
        "MOLECULE_",
        "PYTEST_",
        "PYTHON",
        "VIRTUAL_ENV",
        "MYPY",
        "RUFF",
        "GIT_",
        "MAKE",
        "MFLAGS",
        "NO_COLOR",
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return {
        **kept,
        "PATH": os.pathsep.join([str(venv / "bin"), kept.get("PATH", ""), "/usr/sbin", "/sbin"]),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_HOME": str(work / "ansible"),
        "PYTHONUNBUFFERED": "1",
    }


def start(run: Run, venv: Path, work: Path) -> None:
    command = [str(venv / "bin" / "python"), str(Path(__file__).parent), "--inside", run.gate.name, str(work)]
    run.started = time.monotonic()
    with open(run.log, "wb") as log:
        run.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment(venv, work),
            start_new_session=True,
        )


def finished(run: Run) -> bool:
    """Look after a running gate; True when it has ended and its result is set."""
    assert run.process is not None
    before, run.seconds = run.seconds, time.monotonic() - run.started
    if run.log.with_suffix(".waits").exists():
        run.waited += run.seconds - before
    code = run.process.poll()
    if code is None:
        if run.seconds - run.waited < run.gate.timeout:
            return False
        end(run)
        run.note = f"time-out after {run.gate.timeout} s"
        code = 1
    text = run.log.read_text(errors="replace")
    lines = text.splitlines()
    run.facts = [line[len(gates.FACT) :] for line in lines if line.startswith(gates.FACT)]
    notes = [line[len(gates.NOTE) :] for line in lines if line.startswith(gates.NOTE)]
    run.note = run.note or "; ".join(notes)
    run.result = {0: "passed", gates.SKIPPED: "skipped"}.get(code, "failed")
    return True


def end(run: Run) -> None:
    """End a gate that took too long: it kills what is below it when it is asked to go."""
    assert run.process is not None
    run.process.terminate()
    try:
        run.process.wait(10)
    except subprocess.TimeoutExpired:
        run.process.kill()
        run.process.wait()


def run_all(chosen: list[gates.Gate], venv: Path, work: Path) -> list[Run]:
    waiting = [Run(gate, work / f"{gate.name}.log") for gate in chosen]
    running: list[Run] = []
    done: list[Run] = []
    try:
        while waiting or running:
            for run in list(waiting):
                busy = {resource for other in running for resource in other.gate.resources}
                if len(running) < SLOTS and not busy & run.gate.resources:
                    waiting.remove(run)
                    start(run, venv, work)
                    running.append(run)
            for run in list(running):
                if finished(run):
                    running.remove(run)
                    done.append(run)
                    # Renamed into place at the end, so that two runs in one checkout don't write into each other's.
                    run.log = Path(shutil.copy(run.log, OUTPUT / f".{run.gate.name}.{os.getpid()}"))
                    run.log = run.log.rename(OUTPUT / f"{run.gate.name}.log")
                    report(run)
            time.sleep(0.05)
    finally:
        for run in running:
            end(run)
    return done


def report(run: Run) -> None:
    """One line as soon as a gate has ended, with its output when it failed."""
    print(f"{run.result:8} {run.gate.name:12} {run.seconds:6.1f} s  {run.note}", flush=True)
    if run.result == "failed":
        lines = run.log.read_text(errors="replace").splitlines()
        if len(lines) > SHOWN_LINES:
            print(f"  … {len(lines) - SHOWN_LINES} earlier lines are in {run.log.relative_to(CHECKOUT)}")
        print("\n".join(f"  | {line}" for line in lines[-SHOWN_LINES:]), flush=True)


def causes(run: Run) -> list[str]:
    """What a failed gate failed on, in a few lines: the tests that pytest names, or else the end of its output."""
    last = run.log.read_text(errors="replace").rpartition(gates.AGAIN)[2]
    lines = [line.strip() for line in last.splitlines() if line.strip()]
    named = list(dict.fromkeys(line for line in lines if line.startswith(("FAILED ", "ERROR ", "Left running"))))
    shown = named or [line for line in lines if not line.startswith((gates.NOTE, gates.FACT))]
    return [line[:CAUSE_LENGTH] for line in shown[-SHOWN_CAUSES:]]


def summary(runs: list[Run], seconds: float) -> int:
    """Print the table and the closing line; gives the exit code."""
    order = list(gates.GATES)
    runs = sorted(runs, key=lambda run: order.index(run.gate.name))
    print("\ngate         result    seconds  note")
    for run in runs:
        print(f"{run.gate.name:12} {run.result:8} {run.seconds:8.1f}  {run.note}")
    print(f"{'all':12} {'':8} {seconds:8.1f}\n")
    for fact in [fact for run in runs for fact in run.facts]:
        print(f"Ran on {fact}")
    count = {result: sum(run.result == result for run in runs) for result in ("passed", "failed", "skipped")}
    bad = bool(count["failed"])
    if count["skipped"] and os.environ.get("CI") == "true":
        print("Nothing may be skipped with CI=true.")
        bad = True
    for run in [run for run in runs if run.result == "failed"]:
        print(f"{run.gate.name} failed: {run.note}", *causes(run), sep="\n  ")
    skipped = f", {count['skipped']} skipped" if count["skipped"] else ""
    print(f"{count['passed']} passed, {count['failed']} failed{skipped}", flush=True)
    return int(bad)


def inside(name: str, work: Path) -> int:
    """The body of a gate's own process, which does nothing but look after the one that does the work."""
    code = contain.run(lambda: work_of(name, work))
    left = contain.left_running()
    if left:
        print(f"{gates.NOTE}left processes running")
        print("Left running, and killed now:", *left, sep="\n  ")
        return 1
    return code


def work_of(name: str, work: Path) -> int:
    """Run the function of a gate; gives the exit code."""
    gate = gates.GATES[name]
    tree = work / name / "ansible_collections" / "holdfast" / "supervision"
    shutil.copytree(work / "tree", tree, symlinks=True)
    try:
        with open(work / "everybody", "ab") as everybody:
            place = gates.Place(checkout=CHECKOUT, tree=tree, work=work / name, everybody=everybody)
            place.share()
            gate.function(place)
    except gates.Skip as reason:
        print(f"{gates.NOTE}{reason}")
        return gates.SKIPPED
    except gates.Failure as reason:
        print(f"{gates.NOTE}{reason}")
        return 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/run", description="Run the gates of make test.")
    parser.add_argument("gates", nargs="*", metavar="GATE", help=f"list, or any of: {' '.join(gates.GATES)}")
    parser.add_argument("--build", metavar="FOLDER", help="build the tarball of the last commit into FOLDER, no more")
    parser.add_argument("--exec", metavar="SCRIPT", help="run a Python script with the test tools, no more")
    parser.add_argument("--inside", nargs=2, metavar=("GATE", "WORK"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.inside:
        return inside(chosen.inside[0], Path(chosen.inside[1]))
    if chosen.gates == ["list"]:
        for gate in gates.GATES.values():
            print(f"{gate.name:12} {gate.meaning}")
        return 0
    unknown = set(chosen.gates) - set(gates.GATES)
    if unknown:
        parser.error(f"no such gate: {' '.join(sorted(unknown))} (there are: {' '.join(gates.GATES)})")

    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        machine.install_packages()
        venv = machine.tools()
        if chosen.exec and Path(chosen.exec).name == "benchmarks":
            os.environ.setdefault("HOLDFAST_PRIVSEP_PYTHON", str(machine.peers() / "bin" / "python"))
    except machine.NotReady as problem:
        print(problem, file=sys.stderr)
        return 2
    if chosen.exec:
        os.environ.update(environment(venv, Path(tempfile.gettempdir())))
        os.execv(venv / "bin" / "python", [str(venv / "bin" / "python"), chosen.exec])
    contain.adopt_orphans()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="holdfast-"))
    work.chmod(0o755)  # services of the tests run as other users
    try:
        if chosen.build:
            os.environ.update(environment(venv, work))
            print(gates.build(CHECKOUT, work, Path(chosen.build).absolute()))
            return 0
        before = git("status", "--porcelain")
        copy_of_tree(work / "tree")
        (work / "status").write_text(before)
        selected = [gate for gate in gates.GATES.values() if gate.name in chosen.gates or not chosen.gates]
        last = [gate for gate in selected if gate.last]
        runs = run_all([gate for gate in selected if not gate.last], venv, work)
        runs += run_all(last, venv, work)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    finally:
        contain.kill_descendants()
        shutil.rmtree(work, ignore_errors=True)
    return summary(runs, time.monotonic() - began)


if __name__ == "__main__":
    sys.exit(main())
