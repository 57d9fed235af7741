# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module `supervisor` does: one supervisor of one scan directory, running, stopped or gone.

PRIVATE to the collection.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from . import cleanup, directories, install, roots
from .host import Failed, Host
from .talk import Running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


#: Seconds that the version that ran before has at least to run again: nobody supervises meanwhile.
RETURN = 30.0


def started(host: Host, check_mode: bool, furnish: Callable[[], None] | None = None) -> dict[str, Any]:
    """Have the supervisor run with the wanted version of the runtime. Give the module's result.

    furnish: puts into the scan directory what the supervisor has to find there; called once that is there.
    A running one of another version becomes the wanted one without its services noticing. If that does not succeed
    in time, the version that ran before is made current again, runs again, and Failed is raised.
    Raises Failed, directories.Unsafe, systemd.UnitError, talk.TalkError, OSError.
    """
    wanted = host.wanted
    version = wanted.version or host.layout.active()
    if version is None and not check_mode:
        raise Failed(f"there is no runtime in {wanted.runtime_directory}: install it first")
    other = host.other_root()
    if other is not None and os.geteuid() == 0:
        raise Failed(beside(other))
    missing = [place for place in wanted.places() if directories.is_missing(place)]
    link = directories.link_before(wanted.scan_directory)
    link_differs = link not in ("", wanted.run_directory)
    differing = host.systemd.differing() if host.systemd else []
    disabled = host.systemd.disabled() if host.systemd else []
    inactive = host.systemd.inactive() if host.systemd else []
    texts = {name: host.systemd.before(name) for name in differing} if host.systemd else {}
    running = host.running()
    if running is not None and link_differs:
        raise Failed(
            f"a supervisor (process {running.pid}) runs with {link} as its run directory, not {wanted.run_directory};"
            " stop it first"
        )
    main = host.systemd.main if host.systemd else ""
    step = _step(host, running, version, main in differing and bool(texts[main]), main in inactive)

    actions = [f"make {place.path}" for place in missing]
    if link_differs:
        actions.append(f"link {wanted.scan_directory}/{directories.LINK} to {wanted.run_directory}")
    actions += [f"write unit {name}" for name in differing]
    actions += [f"enable unit {name}" for name in disabled]
    if step:
        actions.append(step.told)
    elif inactive:
        actions += [f"start unit {name}" for name in inactive]

    result = _result(host, actions, running)
    result["diff"] = [_diff("supervisor", _process(running), f"running with runtime {version}\n")]
    for place in missing:
        owner = place.user or "as deployed"
        result["diff"].append(_diff(place.path, "", f"directory, mode {place.mode:04o}, owner {owner}\n"))
    if link_differs:
        before = f"link to {link}\n" if link else ""
        path = f"{wanted.scan_directory}/{directories.LINK}"
        result["diff"].append(_diff(path, before, f"link to {wanted.run_directory}\n"))
    result["diff"] += [_diff(name, texts[name] or "", host.systemd.texts[name]) for name in differing if host.systemd]
    if disabled:
        result["diff"].append(_diff("started at boot", "", "".join(f"{name}\n" for name in disabled)))
    if check_mode:
        result.update(state="running", version=version)
        return result

    for place in missing:
        directories.make(place)
    if link_differs:
        directories.make_link(wanted.scan_directory, wanted.run_directory)
    if furnish is not None:
        furnish()
    if host.systemd is not None:
        if differing:
            host.systemd.write(differing)
        if disabled:
            host.systemd.enable(disabled)
    if step is None:
        if host.systemd is not None and inactive:
            host.systemd.start()
        return result
    step.act()
    found = host.supervisor.wait_for(wanted.timeout, lambda one: one.version == version and not host.is_outdated(one))
    if found is None:
        if running is None or running.version == version:
            raise Failed(f"the supervisor does not answer {wanted.timeout:g} s after its start{host.said()}")
        raise Failed(_back_to(host, running, version or ""))
    return _result(host, actions, found, result["diff"])


def beside(other: str) -> str:
    """Give the message for a host whose process 1 is the supervisor *other*."""
    return (
        f"process 1 of this host is {other}, which supervises services itself: no second supervisor is started "
        "beside it, and it does not tell which directory it scans, so that ours could be one of its services"
    )


class _Step:
    """What is done to the supervisor itself: in words, and the act."""

    __slots__ = ("act", "told")

    def __init__(self, told: str, act: Callable[[], None]) -> None:
        self.told = told
        self.act = act


def _step(host: Host, running: Running | None, version: str | None, unit: bool, by_hand: bool) -> _Step | None:
    """Choose how the supervisor becomes what it should be. No way stops a service.

    unit: its unit has changed. by_hand: it runs, but not under its unit, where there is one.
    """
    systemd = host.systemd
    if running is None:
        return _Step("start the supervisor", host.start)
    if systemd is not None and by_hand:
        return _Step("hand the supervisor over to the init", lambda: host.succeed(running))
    if systemd is not None and unit:
        return _Step("restart the supervisor", lambda: systemd.restart(systemd.main))
    # Process 1 stays what it is, whatever interpreter is wanted.
    if host.has_other_program(running) and running.pid != 1:
        return _Step(f"restart the supervisor with {host.program}", lambda: host.succeed(running))
    if running.version != version:
        told = f"exchange the supervisor, runtime {running.version}, for runtime {version}"
        return _Step(told, host.supervisor.replace_itself)
    if host.is_outdated(running):
        return _Step(f"restart the supervisor with the new {host.program}", host.supervisor.replace_itself)
    return None


def stopped(host: Host, check_mode: bool) -> dict[str, Any]:
    """Stop all services in order, then the supervisor. Give the module's result.

    Services that a dead supervisor has left running are stopped too. Raises Failed, UnitError, TalkError, OSError.
    """
    wanted = host.wanted
    running = host.running()
    if running is not None and running.pid == 1:
        raise Failed(roots.process_one("embedded"))
    actions = ["stop all services and the supervisor"] if running is not None else []
    result = _result(host, actions, running)
    result["diff"] = [_diff("supervisor", _process(running), "not running\n")]
    if check_mode:
        result["state"] = "stopped"
        return result
    if host.systemd is not None and set(host.systemd.installed()) - set(host.systemd.inactive()):
        host.systemd.stop()
    if host.supervisor.holder() is not None:
        host.supervisor.stop(wanted.stop_timeout)
        if not host.supervisor.wait_until_gone(wanted.stop_timeout):
            raise Failed(f"the supervisor has not stopped all services within {wanted.stop_timeout:g} s")
    actions += _stop_orphans(host)
    return _result(host, actions, None, result["diff"])


def absent(host: Host, check_mode: bool) -> dict[str, Any]:
    """Stop everything, then remove units and directories that are ours. Give the module's result.

    What is not ours stays, and the directories that it is in. Raises what `stopped` raises.
    """
    result = stopped(host, check_mode)
    wanted = host.wanted
    actions = result["actions"]
    units = host.systemd.installed() if host.systemd else []
    texts = {name: host.systemd.before(name) for name in units} if host.systemd else {}
    doomed = cleanup.find(wanted.scan_directory, wanted.run_directory, wanted.log_directory, wanted.remove_logs)
    actions += [f"remove unit {name}" for name in units]
    actions += [f"remove {path}" for path in doomed.shown()]
    result["changed"] = bool(actions)
    result["diff"] += [_diff(name, text or "", "") for name, text in texts.items()]
    result["diff"] += [_diff(path, "present\n", "") for path in doomed.shown()]
    if not check_mode:
        if host.systemd is not None and units:
            host.systemd.remove()
        doomed.remove()
    result["boot"] = "nothing will start it at boot: it is removed"
    return result


def _back_to(host: Host, before: Running, version: str) -> str:
    """Have the version that ran before run again; give the message of the failure."""
    said = host.said()
    message = f"runtime {version} did not take over within {host.wanted.timeout:g} s"
    install.roll_back(host.layout, before.version)
    found = host.supervisor.ask()
    if found is None or found.version != before.version:
        holder = host.supervisor.holder()
        if holder is not None:
            # Neither the old one nor a working new one. Its services do not notice: the next supervisor adopts them.
            os.kill(holder, signal.SIGKILL)
            host.supervisor.wait_until_gone(host.wanted.timeout)
        host.start()
        patience = max(host.wanted.timeout, RETURN)
        found = host.supervisor.wait_for(patience, lambda one: one.version == before.version)
    if found is None:
        return f"{message}; the previous runtime {before.version} is current again but does not answer either{said}"
    return f"{message}; the previous runtime {before.version} runs again (process {found.pid}){said}"


def _stop_orphans(host: Host) -> list[str]:
    if host.layout.active() is None or not os.path.isdir(host.wanted.scan_directory):
        return []
    command = host.wanted.program("stop", "--orphans", "--scan", host.wanted.scan_directory)
    code, output, errors = host.run(command)
    if code != 0:
        raise Failed(f"services without a supervisor could not be stopped: {errors.strip() or output.strip()}")
    return [f"stop {line}" for line in output.splitlines() if ": " in line]


def _result(
    host: Host, actions: list[str], running: Running | None, diff: list[dict[str, str]] | None = None
) -> dict[str, Any]:
    return {
        "changed": bool(actions),
        "actions": actions,
        "state": "running" if running else "stopped",
        "pid": running.pid if running else None,
        "version": running.version if running else None,
        "since": running.since if running else None,
        "boot": host.boot(),
        "deployed": os.path.isdir(host.wanted.scan_directory),
        "diff": diff or [],
    }


def _process(running: Running | None) -> str:
    return f"running with runtime {running.version}\n" if running else "not running\n"


def _diff(name: str, before: str, after: str) -> dict[str, str]:
    return {"before_header": name, "after_header": name, "before": before, "after": after}
