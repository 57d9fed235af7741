# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let the clients of daemontools and runit judge the supervisor: they and `holdfast` see and do the same."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import typing as t

SCAN = "/etc/holdfast/services"
TIMEOUT = 30.0

Service = dict[str, t.Any]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a client."""
    return subprocess.run(words, capture_output=True, text=True, check=False)


def services() -> dict[str, Service]:
    """What `holdfast` says, by the name of the service."""
    answer = json.loads(run("holdfast", "status", "--json").stdout)["services"]
    return {service["name"]: {**service, "pid": service["pid"] or None} for service in answer}


def seen_by_svstat(name: str) -> int | None:
    """The process, or None for one that is down, as daemontools sees it."""
    answer = run("svstat", f"{SCAN}/{name}").stdout
    found = re.match(rf"{SCAN}/{name}: (?:up \(pid (\d+)\)|down) \d+ seconds", answer)
    if not found:
        sys.exit(f"svstat {name}: {answer}")
    return int(found[1]) if found[1] else None


def seen_by_sv(name: str) -> int | None:
    """The process, or None for one that is down, as runit sees it."""
    answer = run("sv", "status", f"{SCAN}/{name}").stdout
    found = re.match(rf"(?:run: {SCAN}/{name}: \(pid (\d+)\)|down: {SCAN}/{name}:) \d+s", answer)
    if not found:
        sys.exit(f"sv status {name}: {answer}")
    return int(found[1]) if found[1] else None


def wait(name: str, what: str, wanted: t.Callable[[Service], bool]) -> Service:
    """Wait for a state of a service, and compare what all clients say of it."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        service = services()[name]
        # A service may die between two questions, so only an agreement counts.
        if wanted(service) and service["pid"] == seen_by_svstat(name) == seen_by_sv(name):
            print(f"{name}: {what}")
            return service
        if time.monotonic() > deadline:
            sys.exit(
                f"{name} is not {what}, or the clients disagree: {service}, "
                f"svstat {seen_by_svstat(name)}, sv {seen_by_sv(name)}"
            )
        time.sleep(0.05)


def main() -> None:
    """Look at all services, then steer one with each client."""
    for name in services():
        if run("svok", f"{SCAN}/{name}").returncode != 0:
            sys.exit(f"svok says that nobody supervises {name}")
        wait(name, "as before", lambda service: True)
    if run("svok", f"{SCAN}/nothing").returncode == 0:
        sys.exit("svok sees a service that is not there")

    first = wait("web", "ready", lambda service: service["state"] == "ready")["pid"]
    run("svc", "-d", f"{SCAN}/web")
    wait("web", "down after svc -d", lambda service: service["state"] == "down" and service["want"] == "down")
    run("sv", "up", f"{SCAN}/web")
    second = wait("web", "up after sv up", lambda service: service["state"] == "ready")["pid"]
    run("svc", "-t", f"{SCAN}/web")
    third = wait("web", "another after svc -t", lambda service: service["pid"] not in (None, first, second))["pid"]
    done = run("sv", "-w", "20", "restart", f"{SCAN}/web")
    if done.returncode != 0:
        sys.exit(f"sv restart: {done.stdout}")
    wait("web", "another after sv restart", lambda service: service["pid"] not in (None, third))
    run("svc", "-p", f"{SCAN}/web")
    wait("web", "paused after svc -p", lambda service: bool(service["paused"]))
    run("svc", "-c", f"{SCAN}/web")
    wait("web", "ready after svc -c", lambda service: not service["paused"] and service["state"] == "ready")
    run("holdfast", "stop", "web")
    wait("web", "down after holdfast stop", lambda service: service["state"] == "down")
    run("holdfast", "start", "web")
    wait("web", "ready after holdfast start", lambda service: service["state"] == "ready")


if __name__ == "__main__":
    main()
