# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading of definitions: what the user wrote becomes canonical values, or problems.

Reading never stops at the first problem. The canonical values have the same keys as the schema, only those that were
given; a key set to null counts as not given. PRIVATE to the collection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .._lease import modes
from . import executing, kinds, leased, values
from .names import NAME_RULE, is_name
from .problem import SECRET, Problem, example, nearest, shown
from .schema import ACTIVE, BY_NAME, FORWARDED, KEYS, LIMITS, NEEDS, READY, Key
from .values import Wrong

#: Variables of the inventory that say for all services what their leases don't say.
LEASE_VARIABLES = ("leases_driver", "leases_ttl", "leases_parameters")

_BAD = object()
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch
_FOREIGN_DRIVER = re.compile(r"(?:[a-z][a-z0-9_]{0,63}\.){2}[a-z][a-z0-9_]{0,63}", re.ASCII).fullmatch
_PARAMETER = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII).fullmatch
_RESERVED = re.compile(r"HOLDFAST_").match
# A shell that is asked to set one of these refuses, ends, or changes its own behaviour.
_OF_THE_SHELL = frozenset(
    [
        "_",
        "BASHOPTS",
        "BASH_VERSINFO",
        "DIRSTACK",
        "EUID",
        "FUNCNAME",
        "GROUPS",
        "IFS",
        "LINENO",
        "OPTIND",
        "PPID",
        "RANDOM",
        "SECONDS",
        "SHELLOPTS",
        "UID",
    ]
)

Problems = list[Problem]


def problems(name: str, definition: Any, where: str) -> Problems:
    """Return everything that is wrong with one definition. where is its variable path, such as services_definitions.web."""
    return read(name, definition, where)[1]


def read(name: str, definition: Any, where: str) -> tuple[dict[str, Any], Problems]:
    """Return the canonical values of the keys that were given, and everything that is wrong."""
    found: Problems = []
    if not is_name(name):
        advice = "" if isinstance(name, str) or not is_name(str(name)) else "write it in quotes"
        found.append(Problem(where, shown(name), f"must be a name of a service: {NAME_RULE}", advice))
    if not isinstance(definition, Mapping):
        found.append(_shape(where, definition, "a definition must be a dictionary", _definition_advice(definition)))
        return {}, found
    given = _section(definition, BY_NAME, where, found)
    _together(definition, given, where, found)
    return given, found


def read_defaults(defaults: Any, where: str) -> tuple[dict[str, Any], Problems]:
    """Return those of the defaults that may be laid under every definition, and what is wrong with the others."""
    found: Problems = []
    if not isinstance(defaults, Mapping):
        found.append(_shape(where, defaults, "must be a dictionary of keys of a definition", ""))
        return {}, found
    usable = {}
    for key, value in defaults.items():
        before = len(found)
        _section({key: value}, BY_NAME, where, found, partial=True)
        if len(found) == before:
            usable[key] = value
    return usable, found


def read_lease_defaults(variables: Mapping[str, Any]) -> tuple[dict[str, Any], Problems]:
    """Return what leases_driver, leases_ttl and leases_parameters say for all leases, and what is wrong with them."""
    found: Problems = []
    keys = _KEYS_OF[id(BY_NAME["lease"])]
    given = {}
    for name in LEASE_VARIABLES:
        key = keys[name[len("leases_") :]]
        if variables.get(name) is not None:
            value = READERS[key.kind](variables[name], key, name, found)
            if value is not _BAD:
                given[key.name] = value
    return given, found


def _definition_advice(definition: Any) -> str:
    if isinstance(definition, (str, list)):
        return "put the command under its key: {command: [/usr/bin/x, '-v']}"
    if definition is None:
        return "to remove a service write {state: absent}"
    return ""


def _shape(path: str, value: Any, allowed: str, advice: str) -> Problem:
    return Problem(path, shown(value), allowed, advice)


def _section(
    section: Mapping[Any, Any], keys: Mapping[str, Key], where: str, found: Problems, partial: bool = False
) -> dict[str, Any]:
    """Read a dictionary whose keys are in the schema."""
    given = {}
    for name, value in section.items():
        key = keys.get(name)
        if key is None:
            found.append(Problem(f"{where}.{name}", "", "unknown key", nearest(name, keys)))
        elif value is not None:
            result = READERS[key.kind](value, key, f"{where}.{name}", found)
            if result is not _BAD:
                given[name] = result
    if not partial:
        for key in keys.values():
            if key.required and section.get(key.name) is None:
                found.append(Problem(f"{where}.{key.name}", "", "missing", f"for example {example(key.example)}"))
    return given


def _together(definition: Mapping[str, Any], given: Mapping[str, Any], where: str, found: Problems) -> None:
    """Rules that take more than one key. A key that is faulty by itself is not judged again."""
    wrong = found.append

    def has(key: str) -> bool:
        return definition.get(key) is not None

    if given.get("state") == "absent":
        return
    if not has("command") and not has("template") and given.get("type") != "getty":
        wrong(Problem(f"{where}.command", "", "missing", "write a list: ['/usr/bin/x', '-v']"))
    if given.get("type") == "periodic":
        if not has("interval"):
            wrong(
                Problem(
                    f"{where}.interval",
                    "",
                    "missing: a periodic service needs the time between two starts",
                    "for example 15m",
                )
            )
    elif has("interval") and given.get("type", "longrun") != "periodic":
        wrong(
            Problem(
                f"{where}.interval",
                shown(definition["interval"]),
                "only a periodic service has one",
                "add type: periodic",
            )
        )
    if given.get("type") == "forking" and not has("pid_file"):
        wrong(
            Problem(
                f"{where}.pid_file",
                "",
                "missing: how else to know which process the service is",
                "for example /run/x.pid",
            )
        )
    elif has("pid_file") and given.get("type", "longrun") != "forking":
        wrong(
            Problem(
                f"{where}.pid_file",
                shown(definition["pid_file"]),
                "only a forking service has one",
                "add type: forking",
            )
        )
    found += kinds.problems(definition, given, where)
    readiness = given.get("readiness", {})
    if "check" in readiness and "notification_fd" in readiness:
        wrong(Problem(f"{where}.readiness", "", "notification_fd and check exclude each other", "keep one of them"))
    if "check" in readiness and "grace" in readiness:
        wrong(Problem(f"{where}.readiness.grace", "", "counts only without notification_fd and check", "leave it out"))
    health = given.get("health")
    if health is not None and ("check" in health) == ("heartbeat_fd" in health):
        wrong(Problem(f"{where}.health", "", "needs check or heartbeat_fd, not both", "give one of them"))
    if health and health.get("heartbeat_fd", 0) == readiness.get("notification_fd", -1):
        wrong(Problem(f"{where}.health.heartbeat_fd", str(health["heartbeat_fd"]), "is readiness.notification_fd too"))
    backoff = given.get("backoff", {})
    if backoff.get("initial", 1.0) > backoff.get("maximum", 30.0):
        wrong(Problem(f"{where}.backoff", shown(definition["backoff"]), "initial must not exceed maximum"))
    if "lease" in given:
        _with_lease(given, where, found)
    if "lease" in given or "hooks" in given or given.get("type") == "forking":
        _with_guard(given, where, found)
    context = given.get("security_context", {})
    if len(context) > 1:
        wrong(Problem(f"{where}.security_context", "", "selinux and apparmor exclude each other", "keep one of them"))
    for name in given.get("secret_environment", {}):
        if name in given.get("environment", {}):
            wrong(Problem(f"{where}.environment.{name}", "", "is in secret_environment too", "keep one of them"))
    for place, argv in (("command", given.get("command")), ("readiness.check", readiness.get("check"))):
        _relative(argv, given, f"{where}.{place}[0]", found)
    _relative(given.get("health", {}).get("check"), given, f"{where}.health.check[0]", found)
    for key in ("finish", "stop_command"):
        _relative(given.get(key), given, f"{where}.{key}[0]", found)


def _with_lease(given: Mapping[str, Any], where: str, found: Problems) -> None:
    """What a leased service can't have: it would run outside of the time in which the lease is held."""
    lease = given["lease"]
    for key, only in (("ttl", "etcd"), ("directory", "file")):
        driver = lease.get("driver", only)
        # What a driver of another collection is told it judges itself; a ttl is one of its parameters.
        if key == "ttl" and (_FOREIGN_DRIVER(driver) or _of_several_hosts(lease)):
            continue
        if key in lease and driver != only:
            found.append(
                Problem(f"{where}.lease.{key}", shown(lease[key]), f"means nothing to driver {lease['driver']}")
            )
    if lease.get("mode") == "exec":
        found += executing.problems(given, where)
    _on_lost(lease, given, where, found)
    if lease.get("containment") == "process_group":
        for key in ("finish", "hooks", "pid_file"):
            if key in given:
                found.append(
                    Problem(
                        f"{where}.{key}",
                        "",
                        "is not possible together with lease.containment process_group",
                        "leave the containment at pid_namespace",
                    )
                )


def _of_several_hosts(lease: Mapping[str, Any]) -> bool:
    """Say whether it is one of driver file that runs out, as other hosts see it too."""
    return lease.get("driver", "file") == "file" and lease.get("parameters", {}).get("scope") == "hosts"


def _on_lost(lease: Mapping[str, Any], given: Mapping[str, Any], where: str, found: Problems) -> None:
    """What has to be there for what is to be done on a loss."""
    on_lost = lease.get("on_lost", "kill")
    path = f"{where}.lease.on_lost"
    if on_lost != "kill" and lease.get("containment") == "process_group":
        found.append(Problem(path, on_lost, "needs lease.containment pid_namespace", "leave the containment out"))
    if on_lost != "kill" and lease.get("driver") == "file" and not _of_several_hosts(lease):
        found.append(Problem(path, on_lost, "means nothing to driver file: its leases do not run out"))
    if on_lost == "hook" and "hooks" not in given:
        found.append(Problem(path, on_lost, "needs hooks", "write hooks: {}"))
    if on_lost == "pause" and lease.get("driver") == "sanlock":
        found.append(
            Problem(path, on_lost, "is not possible with driver sanlock: its daemon kills what it cannot renew")
        )
    if on_lost == "pause" and _of_several_hosts(lease):
        found.append(Problem(path, on_lost, "is not possible with locks on NFS: what is lost there is lost for ever"))
    if "pause_timeout" in lease and on_lost != "pause":
        found.append(
            Problem(f"{where}.lease.pause_timeout", shown(lease["pause_timeout"]), "is for on_lost pause only")
        )


def _with_guard(given: Mapping[str, Any], where: str, found: Problems) -> None:
    """What a guard between supervisor and service takes away."""
    signal = given.get("reload_signal", "HUP")
    if signal not in FORWARDED and given.get("lease", {}).get("mode") != "exec":
        found.append(
            Problem(
                f"{where}.reload_signal",
                signal,
                f"the guard of a service with lease, hooks or type forking passes on: {', '.join(FORWARDED)}",
            )
        )


def _relative(argv: Any, given: Mapping[str, Any], path: str, found: Problems) -> None:
    """A relative path is only clear when the definition says relative to what."""
    if argv and "/" in argv[0] and not argv[0].startswith("/") and "directory" not in given:
        found.append(Problem(path, shown(argv[0]), "must be an absolute path, unless directory is given"))


# Readers: (value, key, path, problems) -> canonical value or _BAD.


def _scalar(convert: Callable[[Any], Any]) -> Callable[[Any, Key, str, Problems], Any]:
    def reader(value: Any, key: Key, path: str, found: Problems) -> Any:
        try:
            result = convert(value)
        except Wrong as wrong:
            found.append(Problem(path, shown(value), _with_range(wrong.allowed, key), wrong.advice))
            return _BAD
        if key.minimum is None and key.maximum is None and key.above is None:
            return result
        if (
            (key.minimum is not None and result < key.minimum)
            or (key.maximum is not None and result > key.maximum)
            or (key.above is not None and result <= key.above)
        ):
            found.append(Problem(path, shown(value), "must be" + _range(key)))
            return _BAD
        return result

    return reader


def _with_range(allowed: str, key: Key) -> str:
    text = _range(key)
    return f"{allowed},{text}" if text else allowed


def _range(key: Key) -> str:
    if key.minimum is not None and key.maximum is not None:
        return f" from {key.minimum} to {key.maximum}"
    if key.minimum is not None:
        return f" {key.minimum} or more"
    if key.maximum is not None:
        return f" {key.maximum} or less"
    if key.above is not None:
        return f" more than {key.above}"
    return ""


def _octal(value: Any, key: Key, path: str, found: Problems) -> Any:
    try:
        result = values.octal(value, key.name)
    except Wrong as wrong:
        found.append(Problem(path, shown(value), wrong.allowed, wrong.advice))
        return _BAD
    if key.kind == "umask" and result > 0o777:
        found.append(Problem(path, shown(value), "must be from '000' to '0777'"))
        return _BAD
    return result


def _choice(value: Any, key: Key, path: str, found: Problems) -> Any:
    if isinstance(value, str) and value in key.choices:
        return value
    allowed = "must be one of " + ", ".join(key.choices)
    found.append(Problem(path, shown(value), allowed, _choice_advice(value, key.choices)))
    return _BAD


def _driver(value: Any, key: Key, path: str, found: Problems) -> Any:
    """Read a driver of ours, or of another collection. Whether that is there only the controller's runtime can say."""
    if isinstance(value, str) and (value in key.choices or _FOREIGN_DRIVER(value)):
        return value
    allowed = f"must be one of {', '.join(key.choices)}, or namespace.collection.driver"
    found.append(Problem(path, shown(value), allowed, _choice_advice(value, key.choices)))
    return _BAD


def _choice_advice(value: Any, choices: Sequence[str]) -> str:
    if isinstance(value, bool):
        return "YAML reads yes, no, on and off as truth values"
    advice = nearest(str(value), choices)
    return "" if advice.startswith("known") else advice


def _list(value: Any, path: str, allowed: str, advice: str, found: Problems) -> bool:
    if isinstance(value, (list, tuple)):
        return True
    found.append(Problem(path, shown(value), allowed, advice))
    return False


def _argv(value: Any, key: Key, path: str, found: Problems) -> Any:
    advice = _split(value) if isinstance(value, str) else "write a list: ['/usr/bin/x', '-v']"
    if not _list(value, path, "must be a list: the program, then its arguments", advice, found):
        return _BAD
    if not value:
        found.append(Problem(path, "[]", "must not be empty", "write a list: ['/usr/bin/x', '-v']"))
        return _BAD
    before = len(found)
    words = []
    for index, item in enumerate(value):
        if isinstance(item, str) and item.isascii() and "\0" not in item and len(item) <= values.WORD:
            words.append(item)
            continue
        try:
            words.append(values.word(item))
        except Wrong as wrong:
            found.append(Problem(f"{path}[{index}]", shown(item), wrong.allowed, wrong.advice))
    if len(found) > before:
        return _BAD
    program = words[0]
    if not program or program.startswith("-") or program.endswith("/") or "\n" in program:
        found.append(Problem(f"{path}[0]", shown(program), "must be the path or the name of a program"))
        return _BAD
    if len(words) == 1 and " " in program:
        found.append(
            Problem(f"{path}[0]", shown(program), "is one word of a command, not a command line", _split(program))
        )
        return _BAD
    return words


def _split(line: str) -> str:
    import shlex

    try:
        words = shlex.split(line)
    except ValueError:
        words = []
    if not words:
        return "write a list: ['/usr/bin/x', '-v']"
    if set(line) & set("|&;<>$`*"):
        return f"write a list; for a shell line: ['/bin/sh', '-c', {shown(line)}]"
    return "write a list: [" + ", ".join(f"'{word}'" for word in words) + "]"


def _accounts(value: Any, key: Key, path: str, found: Problems) -> Any:
    advice = f"write a list: [{value}]" if isinstance(value, (str, int)) else ""
    if not _list(value, path, "must be a list of groups", advice, found):
        return _BAD
    before = len(found)
    result = [READERS["account"](item, key, f"{path}[{index}]", found) for index, item in enumerate(value)]
    return result if len(found) == before else _BAD


def _environment(value: Any, key: Key, path: str, found: Problems) -> Any:
    secret = key.kind == "secret_environment"
    if not isinstance(value, Mapping):
        advice = "write NAME: value, not a list" if isinstance(value, (list, str)) else ""
        found.append(
            Problem(path, SECRET if secret else shown(value), "must be a dictionary of names and values", advice)
        )
        return _BAD
    before = len(found)
    result = {}
    for name, item in value.items():
        place = f"{path}.{name}"
        if not isinstance(name, str) or not _VARIABLE(name):
            found.append(Problem(place, "", "must be a name of letters, digits and '_' that begins with no digit"))
            continue
        if name in _OF_THE_SHELL or _RESERVED(name):
            owner = "holdfast" if _RESERVED(name) else "the shell"
            found.append(
                Problem(
                    place,
                    "",
                    f"this name belongs to {owner}",
                    ""
                    if owner == "holdfast"
                    else f"put env(1) in front of the command: ['/usr/bin/env', '{name}=…', …]",
                )
            )
            continue
        taken = len(name) + 1
        if isinstance(item, str) and item.isascii() and "\0" not in item and len(item) + taken <= values.WORD:
            result[name] = item
            continue
        try:
            result[name] = values.word(item, taken)
        except Wrong as wrong:
            advice = wrong.advice
            if secret and not isinstance(item, str):
                # The usual advice repeats the value.
                advice = "write it in quotes" if advice else ""
            found.append(Problem(place, SECRET if secret else shown(item), wrong.allowed, advice))
    return result if len(found) == before else _BAD


def _limits(value: Any, key: Key, path: str, found: Problems) -> Any:
    if not isinstance(value, Mapping):
        found.append(Problem(path, shown(value), "must be a dictionary of limits", "write {nofile: 65536}"))
        return _BAD
    before = len(found)
    result = {}
    for name, item in value.items():
        place = f"{path}.{name}"
        if name not in LIMITS:
            found.append(Problem(place, "", "unknown limit", nearest(name, LIMITS)))
            continue
        pair = item if isinstance(item, (list, tuple)) else (item, item)
        try:
            if len(pair) != 2:
                raise Wrong("must be one value, or two: [soft, hard]")
            soft, hard = values.limit(pair[0]), values.limit(pair[1])
        except Wrong as wrong:
            found.append(Problem(place, shown(item), wrong.allowed, wrong.advice))
            continue
        if hard != values.UNLIMITED and (soft == values.UNLIMITED or soft > hard):
            found.append(
                Problem(place, shown(item), "the soft limit must not exceed the hard one", "write [soft, hard]")
            )
            continue
        result[name] = [soft, hard]
    return result if len(found) == before else _BAD


def _io_max(value: Any, key: Key, path: str, found: Problems) -> Any:
    if not isinstance(value, Mapping):
        found.append(
            Problem(path, shown(value), "must be a dictionary of block devices", f"for example {example(key.example)}")
        )
        return _BAD
    before = len(found)
    result = {}
    keys = {inner.name: inner for inner in key.keys}
    for device, item in value.items():
        place = f"{path}.{device}"
        try:
            values.path(device)
        except Wrong as wrong:
            found.append(Problem(place, "", wrong.allowed))
            continue
        if not isinstance(item, Mapping):
            found.append(Problem(place, shown(item), "must be a dictionary", f"keys: {', '.join(keys)}"))
            continue
        result[device] = _section(item, keys, place, found)
    return result if len(found) == before else _BAD


def _inner(value: Any, key: Key, path: str, found: Problems) -> Any:
    if not isinstance(value, Mapping):
        names = ", ".join(inner.name for inner in key.keys)
        found.append(
            Problem(
                path, shown(value), f"must be a dictionary with keys of: {names}", f"for example {example(key.example)}"
            )
        )
        return _BAD
    before = len(found)
    result = _section(value, _KEYS_OF[id(key)], path, found)
    return result if len(found) == before else _BAD


def _inner_list(value: Any, key: Key, path: str, found: Problems) -> Any:
    if not _list(value, path, "must be a list", f"write a list: [{shown(value)}]", found):
        return _BAD
    before = len(found)
    result = []
    for index, item in enumerate(value):
        full = {key.shorthand: item} if isinstance(item, str) else item
        result.append(_inner(full, key, f"{path}[{index}]", found))
    return result if len(found) == before else _BAD


def _log(value: Any, key: Key, path: str, found: Problems) -> Any:
    if value is False:
        return {"to": "none"}
    if value is True:
        return {}
    if isinstance(value, str):
        return _inner({key.shorthand: value}, key, path, found)
    return _inner(value, key, path, found)


def _service(value: Any, key: Key, path: str, found: Problems) -> Any:
    if is_name(value):
        return value
    found.append(Problem(path, shown(value), f"must be a name of a service: {NAME_RULE}"))
    return _BAD


def _needs(value: Any, key: Key, path: str, found: Problems) -> Any:
    """Read names of services, each alone or with what it has to be. What is named twice has to be both."""
    advice = f"write a list: [{value}]" if isinstance(value, str) else ""
    if isinstance(value, Mapping):
        places = {path: value}
    elif _list(value, path, "must be a list of services", advice, found):
        places = {f"{path}[{index}]": item for index, item in enumerate(value)}
    else:
        return _BAD
    before = len(found)
    result: dict[str, str] = {}
    for place, item in places.items():
        for name, wanted in item.items() if isinstance(item, Mapping) else ((item, READY),):
            if not is_name(name):
                found.append(Problem(place, shown(name), f"must be a name of a service: {NAME_RULE}"))
            elif wanted not in NEEDS:
                advice = _choice_advice(wanted, NEEDS)
                found.append(Problem(f"{place}.{name}", shown(wanted), f"must be {READY} or {ACTIVE}", advice))
            elif result.get(name) != ACTIVE:
                result[name] = wanted
    return result if len(found) == before else _BAD


def _leased(value: Any, key: Key, path: str, found: Problems) -> Any:
    advice = f"write a list: [{value}]" if isinstance(value, str) else ""
    if not _list(value, path, "must be a list of resources", advice, found):
        return _BAD
    before = len(found)
    names: dict[str, str] = {}
    for index, item in enumerate(value):
        where = f"{path}[{index}]"
        name, mode = leased.resource(item, where, found)
        if name in names:
            found.append(Problem(where, shown(item), "is named twice"))
        names[name] = mode
    return [modes.joined(name, mode) for name, mode in names.items()] if len(found) == before else _BAD


def _parameters(value: Any, key: Key, path: str, found: Problems) -> Any:
    if not isinstance(value, Mapping):
        found.append(_shape(path, value, "must be a dictionary: name of the parameter, then its value", ""))
        return _BAD
    before = len(found)
    result: dict[str, str] = {}
    for name, given in value.items():
        where = f"{path}.{name}"
        if not isinstance(name, str) or not _PARAMETER(name):
            found.append(Problem(path, shown(name), "must be a parameter's name: small letters, digits and _"))
        elif re.search(r"password|secret|token", name) and not name.endswith("_file"):
            found.append(Problem(where, SECRET, "a secret has no place here", f"name a file that has it: {name}_file"))
        elif given is not None:
            text = _parameter(given)
            if text is None:
                found.append(Problem(where, shown(given), "must be text in one line, a number, or a list of texts"))
            else:
                result[name] = text
    return result if len(found) == before else _BAD


def _parameter(given: Any) -> str | None:
    """Return the text that a driver is given, None if there is none."""
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, list):
        given = ",".join(given) if all(isinstance(item, str) and "," not in item for item in given) else None
    if isinstance(given, (str, int, float)) and str(given).isprintable():
        return str(given)
    return None


READERS: dict[str, Callable[[Any, Key, str, Problems], Any]] = {
    "account": _scalar(values.account),
    "accounts": _accounts,
    "argv": _argv,
    "boolean": _scalar(values.boolean),
    "choice": _choice,
    "driver": _driver,
    "duration": _scalar(values.duration),
    "environment": _environment,
    "integer": _scalar(values.integer),
    "io_max": _io_max,
    "leased": _leased,
    "limits": _limits,
    "line": _scalar(values.line),
    "log": _log,
    "mode": _octal,
    "needs": _needs,
    "parameters": _parameters,
    "path": _scalar(values.path),
    "percentage": _scalar(values.percentage),
    "secret_environment": _environment,
    "section": _inner,
    "sections": _inner_list,
    "service": _service,
    "signal": _scalar(values.signal),
    "size": _scalar(values.size),
    "terminal": _scalar(values.terminal),
    "text": _scalar(values.text),
    "umask": _octal,
}

_KEYS_OF = {id(key): {inner.name: inner for inner in key.keys} for key in KEYS if key.keys}
