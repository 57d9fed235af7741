# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`holdfast guard`: reads the command line and guards. PRIVATE to the collection."""

from __future__ import annotations

import fcntl
import os
import sys
import time

from ..._hooks.points import POINTS
from ..._lean import json, signal
from ..._supervise._embedded import files
from .. import core, drivers, execution, modes, naming, reports, trees
from ..interface import HANDOVER, UNBROKEN, DriverRefused, Hole, LeaseError
from . import accounts
from .descriptors import move
from .door import Door
from .guard import UNUSABLE, Guard
from .keeping import Keeping
from .tree import Command
from .watching import Watching

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..interface import Driver
    from .becoming import Becoming

USAGE = """\
usage: holdfast guard --name SERVICE --resource NAME[:MODE] ... [options] -- command ...
  --mode guard | exec        exec: get the leases and become the command, with nobody beside it; see below
  --driver file|etcd|sanlock  who keeps the leases (file)
  --parameter NAME=VALUE     for the driver, any number of times; --directory DIR and --ttl SECONDS are short for two
  --state DIR                where this guard's state and socket go (/run/holdfast/guards, or ~/.holdfast/run/guards)
  --wait | --no-wait         stand in line (default), or exit with 75 if a resource is held
  --containment pid_namespace | process_group
  --safety strict | standard strict (default): refuse to start while a safety hole is open
  --definition FILE          holdfast.json of a leased service: its process state is applied to the command
  --stop-signal NAME, --stop-timeout SECONDS, --kill process|group|tree
  --on-lost kill|hook|pause  what is done when the leases are not renewed in time (kill)
  --pause-timeout SECONDS    with pause: how long beyond the end of the leases (300)
  --keep SECONDS             after the service has ended only this host is granted its leases, for so long
  --report-fd NUMBER         a line is written there when the service is ready
With --mode exec there are only --driver, --parameter, --directory, --state, --wait, --no-wait, --safety, --definition, --stop-signal.
"""
_VALUES = frozenset(
    ("name", "resource", "directory", "driver", "parameter", "state", "containment", "safety", "definition")
    + ("ttl", "stop-signal", "stop-timeout", "kill", "report-fd", "keep", "on-lost", "pause-timeout", "mode")
)
#: Options that need somebody beside the service.
_OF_GUARDS = frozenset(("containment", "stop-timeout", "kill", "keep", "on-lost", "pause-timeout", "report-fd"))
#: The program of the service directory that is run after the service.
FINISH = "./guarded-finish"
#: Seconds that the tree of a killed guard of this service has to be gone.
_PATIENCE = 5.0
#: Seconds that a service may be paused at most.
_LONGEST_PAUSE = 86400
_CHOICES = {
    "containment": (trees.NAMESPACE, trees.GROUP),
    "safety": ("strict", "standard"),
    "kill": ("process", "group", "tree"),
    "mode": (execution.GUARD_MODE, execution.EXEC_MODE),
    "on-lost": (core.ON_LOST_KILL, core.ON_LOST_HOOK, core.ON_LOST_PAUSE),
}
#: Variables that are the guard's business, not the service's.
_DROPPED = (
    "HOLDFAST_GROUP",
    "HOLDFAST_PYTHON",
    "HOLDFAST_RUNTIME",
    "LISTEN_FDS",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
)


class _Wrong(ValueError):
    """The command line is wrong."""


def main(arguments: list[str]) -> int:
    """Guard a service and give its exit code; 2 wrong usage, 75 busy, 111 refused or impossible."""
    have_standard()
    try:
        options, resources, command = _parse(arguments)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"holdfast guard: {error}\n{USAGE}")
        return 2
    try:
        return _guard(options, resources, command)
    except files.Busy:
        sys.stderr.write(
            f"holdfast guard: {options['name']}: another guard has this service here, or its end is near\n"
        )
    except LeaseError as error:
        sys.stderr.write(f"holdfast guard: {options['name']}: {error}\n")
    except OSError as error:
        sys.stderr.write(f"holdfast guard: {options['name']}: {error.filename or ''}: {error.strerror or error}\n")
    return UNUSABLE


def have_standard() -> None:
    """Have standard input, output and errors lead somewhere: what is opened next would be taken for them."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if getattr(sys, "stderr", None) is None:
        sys.stderr = open(2, "w", closefd=False, encoding="utf-8", errors="replace")  # noqa: SIM115  # for good


def _parse(arguments: list[str]) -> tuple[dict[str, Any], list[tuple[str, str]], list[str]]:
    options: dict[str, Any] = {"driver": "file", "safety": "strict", "wait": True, "kill": "group", "mode": "guard"}
    options.update({"stop-signal": "TERM", "stop-timeout": "10"})
    parameters: dict[str, Any] = {}
    options["parameters"] = parameters
    options["containment"] = trees.NAMESPACE if os.geteuid() == 0 else trees.GROUP
    resources: list[tuple[str, str]] = []
    given: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, value = word.removeprefix("--").partition("=")
        if word in ("--wait", "--no-wait"):
            options["wait"] = word == "--wait"
        elif word.startswith("--") and name in _VALUES:
            if not equals:
                if not rest:
                    raise _Wrong(f"--{name} needs a value")
                value = rest.pop(0)
            given.append(name)
            if value not in _CHOICES.get(name, (value,)):
                raise _Wrong(f"--{name}: {value!r} is none of {', '.join(_CHOICES[name])}")
            if name == "resource":
                resources.append(modes.split(value))
            elif name == "parameter":
                key, equals, value = value.partition("=")
                if not equals or ("password" in key.split("_") and not key.endswith("_file")):
                    raise _Wrong(f"--parameter {key}: NAME=VALUE, and no secrets: those are in files")
                parameters[key] = value
            elif name in ("directory", "ttl"):
                parameters[name] = value
            else:
                options[name] = value
        else:
            raise _Wrong(f"there is no option {word}")
    if not options.get("name"):
        raise _Wrong("--name is missing")
    without = sorted(_OF_GUARDS.intersection(given))
    if options["mode"] == execution.EXEC_MODE and (without or options["driver"] == "none"):
        raise _Wrong(f"--mode exec: there is nobody beside the service for --{', --'.join(without or ['driver=none'])}")
    if not rest or bool(resources) == (options["driver"] == "none"):
        raise _Wrong("at least one --resource, or --driver none, and a command behind -- are needed")
    if "/" in options["name"] or options["name"].startswith("."):
        raise _Wrong(f"--name: {options['name']!r} is no name of a service")
    options["signal"] = signal.number_of(options["stop-signal"])
    if not options["signal"]:
        raise _Wrong(f"--stop-signal: {options['stop-signal']!r} is no signal")
    options["grace"] = float(options["stop-timeout"])
    options["keep"] = float(options.get("keep", 0))
    options["patience"] = float(options.get("pause-timeout", 300))
    if not 0 < options["patience"] <= _LONGEST_PAUSE:
        raise _Wrong(f"--pause-timeout: has to be above 0 and {_LONGEST_PAUSE} at most")
    options["report"] = int(options.get("report-fd", -1))
    if options["report"] >= 0:
        # Not the service's.
        os.set_inheritable(options["report"], False)
    return options, resources, rest


def _guard(options: dict[str, Any], resources: list[tuple[str, str]], arguments: list[str]) -> int:
    root = os.geteuid() == 0
    base = options.get("state") or ("/run/holdfast/guards" if root else os.path.expanduser("~/.holdfast/run/guards"))
    folder = os.path.join(os.path.realpath(base), options["name"])
    os.makedirs(folder, 0o755, exist_ok=True)
    lock = lock_guard(folder)
    _look_for_service(folder)
    containment = options["containment"]
    executes = options["mode"] == execution.EXEC_MODE
    if "containment" in drivers.load(options["driver"]).parameters and not executes:
        options["parameters"]["containment"] = containment
    driver = drivers.make(options["driver"], options["name"], options["parameters"])
    if executes and execution.refusal(type(driver)):
        raise LeaseError(f"mode exec: {execution.refusal(type(driver))}")
    # Before the driver itself says so: one of another collection may only have declared it.
    too_many = drivers.too_many(type(driver), len(resources))
    if too_many:
        raise DriverRefused(f"{too_many}; write fewer into lease.resources")
    named = _register(driver, resources)
    environment = {name: value for name, value in os.environ.items() if name not in _DROPPED}
    command = Command(arguments, environment, options["name"])
    command.stop, command.scope = options["signal"], options["kill"]
    command.stop_timeout = options["grace"]
    definition: dict[str, Any] = {}
    if options.get("definition"):
        with open(options["definition"], encoding="utf-8") as file:
            definition = json.load(file).get("lease") or {}
        if executes:
            _alone(command, definition)
        else:
            _beside(command, definition, folder, containment)
        if "HOLDFAST_APPLIED" not in environment:
            # Not started by our supervisor, which gives the secrets along.
            environment.update(_secrets(os.path.join(os.path.dirname(options["definition"]), "env")))
        if command.state.get("resources"):
            command.group = _group()
        environment["HOLDFAST_APPLIED"] = "1"
        environment["HOLDFAST_GUARDED"] = options["name"]
    if executes:
        one = _becoming(options, named, folder, driver, command, lock)
        one.definition = str(definition.get("guard", ""))
        return one.run()
    guard = Guard(options["name"], folder, driver, command, containment)
    guard.holes, guard.wait, guard.strict = _own_holes(containment), options["wait"], options["safety"] == "strict"
    guard.watching = Watching(guard, definition.get("readiness"), definition.get("health"))
    guard.parameters, guard.definition = options["parameters"], str(definition.get("guard", ""))
    guard.report = options["report"]
    guard.keeping = Keeping(options["keep"])
    if options["keep"] and HANDOVER not in driver.capabilities:
        raise LeaseError(f"driver {driver.name} cannot keep leases for a restart: leave keep out")
    guard.on_lost, guard.patience = options.get("on-lost", core.ON_LOST_KILL), options["patience"]
    _prepare_loss(guard)
    guard.resources, guard.disks = list(named), naming.disks_of(named)
    Door(guard, f"{folder}/socket")
    try:
        return guard.run(command.grace)
    finally:
        accounts.remove(folder)


def _register(driver: Driver, resources: list[tuple[str, str]]) -> dict[str, str]:
    """Register everything; give by what name in the store what was asked for. Raises LeaseError."""
    named: dict[str, str] = {}
    for resource, mode in resources:
        known = naming.known_as(resource)
        naming.register(driver, resource, mode, known)
        named[known] = resource
    return named


def _becoming(
    options: dict[str, Any], named: dict[str, str], folder: str, driver: Driver, command: Command, lock: int
) -> Becoming:
    """Give what becomes the service. Raises OSError."""
    from .becoming import Becoming

    # Closing any descriptor of the file ends the process's lock of fcntl; that of flock keeps others out meanwhile.
    high = move(lock)
    fcntl.lockf(high, fcntl.LOCK_EX | fcntl.LOCK_NB)
    one = Becoming(options["name"], folder, driver, command, high)
    one.wait, one.strict = options["wait"], options["safety"] == "strict"
    one.parameters, one.resources, one.disks = options["parameters"], list(named), naming.disks_of(named)
    if os.geteuid() != 0:
        one.holes = [
            Hole("rootless", "the service runs as the user who keeps its leases, and may take them away from itself")
        ]
    return one


def _alone(command: Command, definition: dict[str, Any]) -> None:
    """Take over what a service without a guard has of its definition. Raises LeaseError if it asks for more."""
    readiness = definition.get("readiness") or {}
    asked = {name: bool(definition.get(name)) for name in ("hooks", "pid_file", "health")}
    asked["finish"] = definition.get("finish_timeout") is not None
    asked["readiness.check"] = bool(readiness.get("check"))
    asked["readiness.notification_fd"] = readiness.get("notification_fd") is not None
    if any(asked.values()):
        names = ", ".join(name for name, there in asked.items() if there)
        raise LeaseError(f"mode exec: there is nobody beside the service for {names}; use mode guard")
    command.state = definition.get("process") or {}


def _beside(command: Command, definition: dict[str, Any], folder: str, containment: str) -> None:
    """Take over what the definition has run beside the service. Raises LeaseError if that can't be."""
    command.state = definition.get("process") or {}
    command.hooks = definition.get("hooks")
    command.pid_file = definition.get("pid_file") or ""
    command.hook_state = f"{folder}/hooks"
    if definition.get("finish_timeout") is not None:
        command.finish, command.finish_timeout = FINISH, definition["finish_timeout"]
    if containment != trees.NAMESPACE and (command.hooks or command.finish or command.pid_file):
        raise LeaseError("finish, hooks and type forking need containment pid_namespace, which needs root")
    if command.hooks:
        # Only here: most services have none.
        from ..._hooks import hooks

        try:
            # Again before each is run; here so that nothing is acquired for nothing.
            for point in POINTS:
                hooks.find(command.hooks["directory"], point)
        except hooks.BadHook as error:
            raise LeaseError(str(error)) from None


def _prepare_loss(guard: Guard) -> None:
    """See to it that what is to be done on a loss can be done. Raises LeaseError, OSError."""
    if guard.on_lost == core.ON_LOST_KILL:
        return
    if guard.containment != trees.NAMESPACE:
        raise LeaseError(f"on_lost {guard.on_lost} needs containment pid_namespace, which needs root")
    if guard.on_lost == core.ON_LOST_HOOK and not guard.command.hooks:
        raise LeaseError("on_lost hook: the service has no hooks; give it hooks, and put an executable in lease_lost")
    if guard.on_lost == core.ON_LOST_PAUSE and UNBROKEN not in guard.driver.capabilities:
        raise LeaseError(
            f"on_lost pause: driver {guard.driver.name} cannot say after the end of a lease that nobody else had it"
        )
    # Only here: most guards have no need for it.
    from .board import Board

    guard.command.board = Board()
    user = guard.command.state.get("user")
    if guard.on_lost == core.ON_LOST_PAUSE and user not in (None, "", "root", "0"):
        guard.holes.append(
            Hole(
                "continuable",
                f"processes of {user} outside of the service may let it go on (SIGCONT) while it is paused; "
                "nothing but the service should run as that user",
            )
        )


def _group() -> str:
    """Give the control group that the supervisor has for the service. Raises LeaseError."""
    group = os.environ.get("HOLDFAST_GROUP", "")
    if not group:
        raise LeaseError("it has resources, and whoever started the guard gave it no control group for them")
    return group


def _secrets(folder: str) -> dict[str, str]:
    found = {}
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        with open(os.path.join(folder, name), encoding="utf-8", errors="surrogateescape", newline="") as file:
            found[name] = file.read()
    return found


def lock_guard(folder: str) -> int:
    """Take the guard's own lock, for as long as the given descriptor is open; one that a dead guard's init still has is waited for.

    Until that init is dead too, no second guard of this service comes any further. Raises files.Busy, OSError.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            lock = files.lock(f"{folder}/lock")
            break
        except files.Busy:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.01)
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return lock


def _look_for_service(folder: str) -> None:
    """See the end of a service without a guard that has let go of the folder's lock. Raises files.Busy if it does not come."""
    report = reports.of_living(folder)
    if report.get("mode") != execution.EXEC_MODE or report["phase"] != reports.ACTIVE:
        return
    service = trees.describe(report["pid"], report["started"], trees.PROCESS)
    # After an exec of `run` itself it may be us.
    if service["pid"] != os.getpid() and not trees.outlast(service, _PATIENCE):
        raise files.Busy(folder)


def _own_holes(containment: str) -> list[Hole]:
    holes = []
    if containment == trees.GROUP:
        holes.append(
            Hole(
                "process_group",
                "what leaves the service's process group (setsid), or closes all that it does not know, outlives a killed "
                "guard; containment pid_namespace, as root, closes it",
            )
        )
    if os.geteuid() != 0:
        holes.append(Hole("rootless", "the service runs as the guard's user and may stop or change it"))
    return holes
