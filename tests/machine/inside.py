# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside an emulated machine: deploys, does things to services with resources, prints what it saw as JSON.

It judges nothing: test_resources.py does.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.supervision.plugins.module_utils._plan import tasks
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.backends import BACKENDS
from ansible_collections.holdfast.supervision.plugins.module_utils._varlink.client import Connection, ConnectionLost

PAYLOAD = Path("/payload")
SCAN = Path("/etc/holdfast/services")
GROUPS = Path("/sys/fs/cgroup/system.slice/holdfast-groups.service")


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 90
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: {status()}")
        time.sleep(0.05)


def status() -> dict[str, Any]:
    with Connection(str(SCAN / ".holdfast" / "socket"), 30) as connection:
        answer = connection.call("io.holdfast.Supervisor.Status", {})
    return {**{one["name"]: one for one in answer["services"]}, "": answer["supervisor"]}


def pids() -> dict[str, int]:
    return {name: one["pid"] for name, one in status().items() if name and one["pid"]}


def answers() -> bool:
    try:
        return bool(status())
    except ConnectionLost:
        return False


def converge(number: int) -> dict[str, Any]:
    parameters = json.loads((PAYLOAD / f"task-{number}.json").read_text())
    result = tasks.services(parameters, BACKENDS.values(), check_mode=False, with_diff=False)
    return {key: result.get(key) for key in ("changed", "failed", "msg", "actions")}


def limits(name: str) -> dict[str, str]:
    files = ("memory.max", "cpu.weight", "cpu.max", "io.max", "pids.max")
    group = GROUPS / f"service-{name}"
    return {file: (group / file).read_text().strip() for file in files if (group / file).exists()}


def members(name: str) -> list[int]:
    return [int(pid) for pid in (GROUPS / f"service-{name}" / "cgroup.procs").read_text().split()]


def deploy() -> dict[str, Any]:
    """What the roles leave behind."""
    run("useradd", "--system", "--no-create-home", "holdfast-log")
    runtime = Path("/usr/local/lib/holdfast")
    shutil.copytree(PAYLOAD / "runtime", runtime / "1")
    run("/usr/bin/python3", "-m", "compileall", "-q", str(runtime))
    (runtime / "current").symlink_to("1")
    command = Path("/usr/local/bin/holdfast")
    command.write_text(f'#!/bin/sh\nexec /usr/bin/python3 -I -S {runtime}/current/__main__.py "$@"\n')
    command.chmod(0o755)
    SCAN.mkdir(parents=True)
    (SCAN / ".holdfast").symlink_to("/run/holdfast")
    units = sorted(file.name for file in (PAYLOAD / "units").iterdir())
    for name in units:
        shutil.copy(PAYLOAD / "units" / name, "/etc/systemd/system")
    Path("/var/lib/leases").mkdir()
    run("systemctl", "daemon-reload")
    run("systemctl", "start", *units)
    return {"systemd": run("systemctl", "--version").split()[1], "controllers": status()[""]["groups"]["controllers"]}


def first() -> dict[str, Any]:
    return {"result": converge(1), "again": converge(1)}


def written() -> dict[str, Any]:
    return {name: limits(name) for name in ("plenty", "weighed")}


def eaten() -> dict[str, Any]:
    """A service, and a leased one, use up their memory."""
    until(lambda: (GROUPS / "service-leased").exists() and members("leased"), "the leased service")
    before = pids()
    kept = before["leased"]
    seen: dict[str, Any] = {"guard outside": kept not in members("leased"), "in the group": len(members("leased"))}
    for name in ("eater", "leased"):
        Path(f"/run/eat-{name}").touch()
        until(lambda name=name: status()[name]["deaths"] >= 1, f"the end of {name}")  # type: ignore[misc]
        Path(f"/run/eat-{name}").unlink()
        seen[name] = [line for line in run("holdfast", "why", name).splitlines() if "  exit " in line]
        until(lambda name=name: status()[name]["state"] == "ready", f"{name} again")  # type: ignore[misc]
    after = pids()
    seen["others went on"] = all(after[name] == pid for name, pid in before.items() if name not in ("eater", "leased"))
    return seen


def forked() -> dict[str, Any]:
    until(lambda: Path("/run/forked").exists(), "the forks")
    return {"forked": Path("/run/forked").read_text()}


def throttled() -> dict[str, Any]:
    def count() -> int:
        stat = (GROUPS / "service-burner" / "cpu.stat").read_text()
        return int(dict(line.split() for line in stat.splitlines())["nr_throttled"])

    until(lambda: count() > 3, "throttling")
    return {"cpu.max": limits("burner")["cpu.max"]}


def changed() -> dict[str, Any]:
    before = pids()
    result = converge(2)
    until(lambda: limits("plenty")["pids.max"] == "77", "the new limit")
    after = pids()
    return {"result": result, "same": before == after, "limits": limits("plenty"), "again": converge(2)}


def refused() -> dict[str, Any]:
    before = sorted(str(path) for path in SCAN.iterdir())
    return {"result": converge(3), "nothing": before == sorted(str(path) for path in SCAN.iterdir())}


def crashed() -> dict[str, Any]:
    """The supervisor is killed, twice; systemd starts it again."""
    before, held = pids(), limits("plenty")
    for _time in range(2):
        old = int(run("systemctl", "show", "-P", "MainPID", "holdfast.service"))
        os.kill(old, signal.SIGKILL)
        until(lambda old=old: answers() and status()[""]["pid"] != old, "another supervisor")  # type: ignore[misc]
    now = status()
    return {
        "same": before == pids(),
        "adopted": all(one["adopted"] for name, one in now.items() if name and one["pid"]),
        "limits": limits("plenty") == held,
        "unit": run("systemctl", "show", "-P", "ActiveState", "holdfast.service"),
        "restarts": run("systemctl", "show", "-P", "NRestarts", "holdfast.service"),
    }


def restarted() -> dict[str, Any]:
    before = pids()
    run("systemctl", "restart", "holdfast.service")
    until(answers, "the supervisor")
    return {
        "same": before == pids(),
        "groups": run("systemctl", "show", "-P", "ActiveState", "holdfast-groups.service"),
    }


def stopped() -> dict[str, Any]:
    """A service whose children have sessions of their own is stopped."""
    until(lambda: len(members("family")) >= 3, "the family")
    family = members("family")
    run("holdfast", "stop", "family")
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family), "the end of the family")
    until(lambda: not (GROUPS / "service-family").exists(), "the end of its group")
    return {"members": len(family)}


def contained() -> dict[str, Any]:
    """A supervisor as process 1 of a container, with a control group namespace and nothing of systemd in sight."""
    scan = Path("/srv/contained")
    (scan / ".holdfast").mkdir(parents=True)
    shutil.copytree(SCAN / "plenty", scan / "plenty", symlinks=True)
    unit = Path("/sys/fs/cgroup/system.slice/container.service")
    # As container runtimes do: whoever made the container is not in its group, which has its controllers from above.
    container = unit / "inside"
    outer, inner = Path("/usr/local/bin/outer"), Path("/usr/local/bin/inner")
    outer.write_text(f"""#!/bin/sh -e
        cd {unit}
        mkdir outside inside
        echo 0 >outside/cgroup.procs
        echo +memory +pids >cgroup.subtree_control
        exec unshare --pid --fork /bin/sh -c 'echo 0 >inside/cgroup.procs; exec unshare --cgroup --mount {inner}'
    """)
    inner.write_text(f"""#!/bin/sh -e
        cd /
        mount -t tmpfs tmpfs /run
        mount -t proc proc /proc
        umount --lazy /sys/fs/cgroup
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        exec /usr/local/bin/holdfast supervise {scan}
    """)
    for script in (outer, inner):
        script.chmod(0o755)
    run("systemd-run", "--unit", unit.name, "-p", "Delegate=yes", str(outer))
    until(lambda: list(container.glob("holdfast/*/service-plenty/cgroup.procs")), "the group in the container")
    [group] = container.glob("holdfast/*/service-plenty")
    until((group / "cgroup.procs").read_text, "the service in the container")
    own = (container / "holdfast-own" / "cgroup.procs").read_text().split()
    seen = {
        "memory.max": (group / "memory.max").read_text().strip(),
        "root": (container / "cgroup.procs").read_text().split(),
        "own": len(own),
    }
    for pid in own:
        if b"supervise" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            os.kill(int(pid), signal.SIGTERM)
    until(lambda: not unit.exists(), "the end of the container")
    return seen


def main() -> None:
    for step in (
        deploy,
        first,
        written,
        eaten,
        forked,
        throttled,
        changed,
        refused,
        crashed,
        restarted,
        stopped,
        contained,
    ):
        began = time.monotonic()
        try:
            seen = step()
        except Exception:
            print(f"{step.__name__} failed:\n{traceback.format_exc()}\n{run('journalctl', '-n', '30', '-o', 'cat')}")
            return
        print(json.dumps({"step": step.__name__, "seconds": round(time.monotonic() - began, 1), **seen}), flush=True)
    print("main is over", flush=True)


if __name__ == "__main__":
    main()
