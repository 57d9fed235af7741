# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A service directory as systemd units. PRIVATE to the collection.

The unit says what systemd does by itself (process state, stopping, restarts, control group) and starts the run script of
the directory, which holds command, environment and working directory. See systemd.exec(5), systemd.service(5),
systemd.kill(5), systemd.resource-control(5), systemd.timer(5).
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Collection, Mapping, Sequence
from resource import RLIM_INFINITY
from typing import Any

from .. import active, attending, holding
from ..interface import is_guarded
from ..log_table import KEPT

#: Since this version a pause between restarts can grow.
GROWING_PAUSE = 254
LOG_WRITER = "holdfast.logwriter.service"
#: How this backend is called in marks (see holding).
BACKEND = "systemd"
#: The target that starts the services of root at boot.
SYSTEM = "multi-user.target"
#: In the run directory: what is this backend's alone.
LOGS = "systemd"
#: The exit code of run that gives up, and the time that a guard has for itself (see _directory/files.py).
GIVES_UP = 100
#: What is noted beside the definition of a service that has a parent of ours.
ATTENDED = "attended"

#: A grace so short is slept by a program that does not notice a death.
SHORT_GRACE = 1.0

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:_.-")
_IO = {"rbps": "IOReadBandwidthMax", "wbps": "IOWriteBandwidthMax", "riops": "IOReadIOPSMax", "wiops": "IOWriteIOPSMax"}


class Place:
    """Where things are on this host. scan: service directories. run: the run directory. python, runtime: our program.

    version: of systemd. target: what starts the services at boot.
    """

    __slots__ = ("log_user", "python", "run", "runtime", "scan", "target", "version")

    def __init__(
        self, scan: str, run: str, python: str, runtime: str, version: int, target: str, log_user: str = ""
    ) -> None:
        self.scan = scan
        self.run = run
        self.python = python
        self.runtime = runtime
        self.version = version
        self.target = target
        self.log_user = log_user

    def directory(self, name: str) -> str:
        """Give the directory of a service."""
        return f"{self.scan}/{name}"

    def state(self, name: str) -> str:
        """Give the folder of the run directory that is for the steps of a service."""
        return f"{self.run}/units/{name}"

    @property
    def logs(self) -> str:
        """Give what the log writer's table and FIFOs are in; those of another backend may be beside it for a while."""
        return f"{self.run}/{LOGS}"

    @property
    def table(self) -> str:
        """Give the log writer's table."""
        return f"{self.logs}/logs"

    def fifo(self, name: str) -> str:
        """Give the FIFO that the log writer reads the output of a service from."""
        return f"{self.logs}/fifo/{name}"

    def waiting(self, names: Sequence[str]) -> str:
        """Give the command that waits until services are active."""
        return words(self.python, "-I", "-S", self.runtime, "await", "systemd", self.scan, active.FLAG, *names)

    def step(self, verb: str, name: str) -> str:
        """Give the command that does a step beside a service."""
        return words(self.python, "-I", "-S", self.runtime, "step", verb, self.directory(name), self.state(name))


def unit_name(name: str, kind: str = "service") -> str:
    """Give the unit of a service: what a unit's name may not have is written as systemd-escape(1) does."""
    return "holdfast-" + "".join(c if c in _PLAIN else f"\\x{ord(c):02x}" for c in name) + f".{kind}"


def words(*arguments: str) -> str:
    """Give a command line on which systemd finds these words again."""
    return " ".join(_word(argument) for argument in arguments)


def _word(text: str) -> str:
    """Quote a word: specifiers and variables are not to be replaced in it."""
    text = text.replace("%", "%%").replace("$", "$$")
    if text and not set(text) & set(" \t\n\"'\\;"):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def heading(directory: str) -> str:
    """Give the first line of our units: what has it is ours to change and remove."""
    return f"# Made by holdfast.supervision from {directory}; changes are overwritten."


def is_native(meta: Mapping[str, Any]) -> bool:
    """Tell whether systemd applies the process state of a definition; else the run script does.

    systemd adds to the groups of a user and cannot take any away: an exact list is not for it. Secrets are in files that
    only root reads; for a service of another user systemd would need a second copy of them.
    """
    process = meta.get("process") or {}
    native = process.get("groups") is None and bool(process.get("user") or not process.get("group"))
    return native and not meta.get("secrets")


def is_attended(meta: Mapping[str, Any]) -> bool:
    """Tell whether a service has a parent of ours, which looks after its health. systemd has the rest itself."""
    return bool(meta.get("health"))


def service_unit(
    meta: Mapping[str, Any], identity: str, place: Place, *, patient: bool = False, marked: bool = False
) -> str:
    """Give the text of the service unit for a directory with this holdfast.json.

    patient: it may wait without end for others. marked: another backend may have the service.
    """
    name = str(meta["name"])
    leased = bool(meta.get("lease"))
    process = meta.get("process") or {}
    applied = not leased and is_native(meta)
    sections = [
        [heading(place.directory(name)), *_unit(meta, place), *(_beside_the_boot(place) if patient else [])],
        [
            "[Service]",
            # A job's start is over when the job is; that of a service when it is ready.
            "Type=oneshot" if meta.get("type") == "periodic" else "Type=exec",
            *(_condition(name, place) if marked else []),
            *_start(meta, identity, place, applied),
            *_process(meta, place, applied),
            *_resources(process.get("resources") or {}),
            *_output(meta, place),
            *_restart(meta, place),
            *_stop(meta),
        ],
    ]
    if meta.get("type") != "periodic":
        sections.append(["[Install]", f"WantedBy={place.target}"])
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def timer_unit(meta: Mapping[str, Any], place: Place) -> str:
    """Give the text of the timer unit of a periodic service: at once, then one interval after each start."""
    name = str(meta["name"])
    return "\n".join(
        [
            heading(place.directory(name)),
            "[Unit]",
            f"Description=Runs {_text(name)} every {float(meta['interval']):g} s",
            "",
            "[Timer]",
            "OnActiveSec=0",
            f"OnUnitActiveSec={_seconds(meta['interval'])}",
            "AccuracySec=10ms",
            "",
            "[Install]",
            "WantedBy=timers.target",
            "",
        ]
    )


def _unit(meta: Mapping[str, Any], place: Place) -> list[str]:
    name, description = str(meta["name"]), str(meta.get("description") or "")
    lines = ["[Unit]", f"Description={_text(f'{name}: {description}' if description else name)}"]
    lines.append(f"RequiresMountsFor={words(place.scan)}")
    after = ["network.target"]
    if _kept(meta):
        # Wants: a restart of the log writer must not reach the service.
        lines.append(f"Wants={LOG_WRITER}")
        after.append(LOG_WRITER)
    after += [unit_name(need) for need in meta.get("needs") or ()]
    lines.append(f"After={' '.join(after)}")
    limit = meta.get("failure_limit") or {}
    if limit.get("deaths") and meta.get("state") != "once":
        lines += [f"StartLimitIntervalSec={_seconds(limit['within'])}", f"StartLimitBurst={limit['deaths']}"]
    else:
        lines.append("StartLimitIntervalSec=0")
    return lines


def _beside_the_boot(place: Place) -> list[str]:
    """Give what systemd adds by itself, but for one thing: no target waits for the unit, so that the host's boot comes to an end."""
    base = "sysinit.target" if place.target == SYSTEM else "basic.target"
    return [
        "# It may wait for as long as another host has the lease: nothing but what needs it waits for it.",
        "DefaultDependencies=no",
        f"Requires={base}",
        f"After={base} basic.target",
        "Conflicts=shutdown.target",
        "Before=shutdown.target",
    ]


def _condition(name: str, place: Place) -> list[str]:
    mark = shlex.quote(f"{place.scan}/{holding.FOLDER}/{name}")
    script = f'[ ! -e {mark} ] || {{ read -r holder rest <{mark} && [ "$holder" = {BACKEND} ]; }}'
    return [
        "# The backend is being switched: whoever wants it started, another one may have it.",
        f"ExecCondition=+{words('/bin/sh', '-c', script)}",
    ]


def _start(meta: Mapping[str, Any], identity: str, place: Place, applied: bool) -> list[str]:
    name = str(meta["name"])
    state, directory = place.state(name), place.directory(name)
    readiness = meta.get("readiness") or {}
    attended = is_attended(meta)
    note = _note(f"{identity} {ATTENDED}" if attended else identity, state)
    fifo = f"test -p {shlex.quote(place.fifo(name))} && " if _kept(meta) else ""
    lines = []
    needs = [unit_name(need) for need in meta.get("needs") or ()]
    if needs:
        systemctl = "systemctl" if place.target == SYSTEM else "systemctl --user"
        asked = " && ".join(f"{systemctl} is-active -q {shlex.quote(need)}" for need in needs)
        lines += [
            "# Started once what it needs is ready; After= has nothing to say of what is started later.",
            f"ExecStartPre=+{words('/bin/sh', '-c', f'until {asked}; do sleep 0.1; done')}",
        ]
    awaited = meta.get("needs_active") or ()
    if awaited:
        lines.append(f"ExecStartPre=+{place.waiting(awaited)}")
    lines += [
        "# Which definition the running process is of.",
        f"ExecStartPre=+{words('/bin/sh', '-c', fifo + note)}",
    ]
    notified = readiness.get("notification_fd") is not None
    folders = (meta.get("process") or {}).get("runtime_directories")
    if notified or (folders and applied):
        lines.append(f"ExecStartPre=+{place.step('prepare', name)}")
    lines.append(f"ExecStart={place.step('run', name) if notified or attended else words(f'{directory}/run')}")
    grace = float(readiness.get("grace") or 0.0)
    if meta.get("type") == "periodic":
        pass
    elif notified or readiness.get("check") or grace > SHORT_GRACE:
        lines.append(f"ExecStartPost={place.step('ready', name)}")
    elif grace:
        lines.append(f"ExecStartPost=/bin/sleep {grace:g}")
    # Who waits for it has a limit of his own; what is slow today is not killed in the middle of its recovery.
    lines.append("TimeoutStartSec=infinity")
    signal = meta.get("reload_signal") or "HUP"
    lines += [f"ExecReload=/bin/kill -{signal} $MAINPID", f"ExecReload=+{words('/bin/sh', '-c', note)}"]
    # systemd forgets this at the next start, and all of a unit that rests and is not enabled.
    ended = f'echo "$EXIT_CODE $EXIT_STATUS" >{shlex.quote(state)}/ended'
    lines.append(f"ExecStopPost=-+{words('/bin/sh', '-c', ended)}")
    if "finish" in (meta.get("files") or {}):
        lines.append(f"ExecStopPost={place.step('finish', name)}")
    return lines


def _note(identity: str, state: str) -> str:
    """Give the shell command that notes which definition a service is started with."""
    folder = shlex.quote(state)
    return f"mkdir -p {folder} && ln -sfn {shlex.quote(identity)} {folder}/definition"


def _process(meta: Mapping[str, Any], place: Place, applied: bool) -> list[str]:
    process = meta.get("process") or {}
    lines = [
        f"WorkingDirectory={_text(place.directory(str(meta['name'])))}",
        f"Environment={words(f'HOLDFAST_PYTHON={place.python}', f'HOLDFAST_RUNTIME={place.runtime}/__main__.py')}",
    ]
    if not applied:
        # The guard of a leased service, or the run script, gives up privileges itself.
        return lines
    lines.append("Environment=HOLDFAST_APPLIED=1")
    for key, directive in (("user", "User"), ("group", "Group"), ("nice", "Nice")):
        if process.get(key) is not None:
            lines.append(f"{directive}={process[key]}")
    if process.get("umask") is not None:
        lines.append(f"UMask={process['umask']:04o}")
    if process.get("oom_score_adjust") is not None:
        lines.append(f"OOMScoreAdjust={process['oom_score_adjust']}")
    for limit, (soft, hard) in sorted((process.get("limits") or {}).items()):
        lines.append(f"Limit{limit.upper()}={_limit(soft)}:{_limit(hard)}")
    context = process.get("security_context") or {}
    for key, directive in (("selinux", "SELinuxContext"), ("apparmor", "AppArmorProfile")):
        if context.get(key):
            lines.append(f"{directive}={_text(context[key])}")
    return lines


def _resources(resources: Mapping[str, Any]) -> list[str]:
    share = resources.get("cpu_max")
    values = {
        "MemoryMax": resources.get("memory_max"),
        "CPUWeight": resources.get("cpu_weight"),
        "CPUQuota": None if share is None else f"{share * 100:g}%",
        "TasksMax": resources.get("pids_max"),
    }
    lines = [f"{directive}={value}" for directive, value in values.items() if value is not None]
    for device, limits in sorted((resources.get("io_max") or {}).items()):
        lines += [f"{_IO[key]}={words(device)} {value}" for key, value in sorted(limits.items()) if value is not None]
    return lines


def _output(meta: Mapping[str, Any], place: Place) -> list[str]:
    log = meta.get("log") or {}
    if _kept(meta):
        target = f"file:{_text(place.fifo(str(meta['name'])))}"
        return [f"StandardOutput={target}", f"StandardError={target}"]
    if log.get("to") == "journald":
        return ["StandardOutput=journal", "StandardError=journal", f"SyslogIdentifier={_text(str(meta['name']))}"]
    return ["StandardOutput=null", "StandardError=null"]


def _restart(meta: Mapping[str, Any], place: Place) -> list[str]:
    policy = {"always": "always", "on_failure": "on-failure"}.get(str(meta.get("restart")), "no")
    if meta.get("state") == "once" or meta.get("type") == "periodic":
        policy = "no"
    if policy == "no":
        return ["Restart=no"]
    backoff = meta.get("backoff") or {}
    initial, maximum = float(backoff.get("initial") or 0.0), float(backoff.get("maximum") or 0.0)
    lines = [f"Restart={policy}", f"RestartSec={_seconds(initial)}", f"RestartPreventExitStatus={GIVES_UP}"]
    if policy == "on-failure":
        # To systemd these are a good end, to a definition they are none.
        lines.append("RestartForceExitStatus=SIGHUP SIGINT SIGTERM SIGPIPE")
    if place.version >= GROWING_PAUSE and maximum > initial > 0:
        steps = math.ceil(math.log2(maximum / initial))
        lines += [f"RestartSteps={steps}", f"RestartMaxDelaySec={_seconds(maximum)}"]
    return lines


def _stop(meta: Mapping[str, Any]) -> list[str]:
    guarded = is_guarded(meta)
    # A guard is asked alone: it stops the service, and then gives the lease back. So is a parent of ours, and a oneshot:
    # systemd signals whoever comes into the group meanwhile, such as what undoes it.
    attended = is_attended(meta)
    mode = "control-group"
    if meta.get("kill") == "process" and not guarded:
        mode = "process"
    elif guarded or attended or meta.get("type") == "oneshot":
        mode = "mixed"
    timeout = attending.stop_timeout(meta) if attended else float(meta.get("stop_timeout") or 0.0)
    stop_signal = "TERM" if attended else meta.get("stop_signal") or "TERM"
    lines = [
        f"KillMode={mode}",
        f"KillSignal=SIG{stop_signal}",
        f"TimeoutStopSec={_seconds(timeout) if timeout else 'infinity'}",
    ]
    if guarded:
        lines.append("Delegate=yes")
    return lines


def _kept(meta: Mapping[str, Any]) -> bool:
    """Tell whether our log writer keeps the output."""
    return (meta.get("log") or {}).get("to") in KEPT


def _text(text: str) -> str:
    """Give a value that is not split into words."""
    return " ".join(str(text).replace("%", "%%").split())


def _seconds(value: float) -> str:
    return f"{round(float(value) * 1000)}ms"


def _limit(value: int) -> str:
    return "infinity" if value == RLIM_INFINITY else str(value)


def units(metas: Sequence[tuple[Mapping[str, Any], str]], place: Place, marked: Collection[str] = ()) -> dict[str, str]:
    """Give all units (name to text) of these directories, each with the identity of its definition.

    marked: the services that another backend may have.
    """
    texts = {}
    patient = _patient([meta for meta, _identity in metas])
    for meta, identity in metas:
        name = str(meta["name"])
        texts[unit_name(name)] = service_unit(meta, identity, place, patient=name in patient, marked=name in marked)
        if meta.get("type") == "periodic":
            texts[unit_name(name, "timer")] = timer_unit(meta, place)
    return texts


def _patient(metas: Sequence[Mapping[str, Any]]) -> set[str]:
    """Give the services that need one to be active, and those that need them."""
    found = {str(meta["name"]) for meta in metas if meta.get("needs_active")}
    while True:
        more = {str(meta["name"]) for meta in metas if found & set(meta.get("needs") or ())} - found
        if not more:
            return found
        found |= more
