# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operation may say, and everything that is wrong with a list of them. PRIVATE to the collection.

The same code judges on the controller's behalf (`holdfast helper --check`) and in the helper when it starts: what is
not understood is refused, never ignored, since each word here gives somebody root's power.
"""

from __future__ import annotations

import keyword
import re

from .._lease.modes import disk
from . import generated
from .capability_names import NUMBERS
from .declared import TIMEOUT, name, placeholder, secured_by
from .interface import ERRORS
from .parameters import DESCRIPTORS, is_absolute, is_integer, is_number, is_text
from .reading import NAME, Reader, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORMAT = 1
IDEMPOTENCY = ("pure", "idempotent", "once")
ON_DISCONNECT = ("finish", "cancel")
ISOLATION = ("pooled", "fresh")
ASYNCHRONOUS = ("never", "allowed", "always")
#: What an operation may do without.
FORBID = ("network", "programs")
#: Longest timeout, and that of an operation that always is a job; in seconds.
LONGEST, LONGEST_JOB = 86400, 2592000

_variable = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}").fullmatch
_service = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,127}").fullmatch
#: The names of errors, which can be those of nothing else in the interface that is generated.
_ERRORS = {line.split()[1] for line in ERRORS.splitlines() if line.startswith("error ")}
_WHO = "{user: NAME}, {group: NAME}, {service: NAME}"
_any_placeholder = re.compile(r"\{[a-z][a-z0-9_]{0,63}\}").search

_DOCUMENT = {
    "format",
    "socket",
    "state_directory",
    "jobs_directory",
    "operations",
    "resources",
    "rate",
    "services",
    "secured_by",
    "guards",
    "failure_limit",
}
_RESOURCE = {"create", "destroy", "linger", "description"}
_SERVICES = {"manager", "scan_directory", "identity", "users"}
_OPERATION = {
    "description",
    "argv",
    "function",
    "isolation",
    "seccomp",
    "forbid",
    "parameters",
    "allow",
    "timeout",
    "user",
    "capabilities",
    "idempotency",
    "on_disconnect",
    "environment",
    "directory",
    "memory_max",
    "rate",
    "asynchronous",
    "long_lived",
    "coalesce",
    "stream",
    "secured_by",
    "unsecured",
    "returns",
}


def problems(document: object) -> list[str]:
    """Give all that is wrong with the content of helper.json, one line each; nothing when it can be used."""
    reader = Reader()
    if not reader.keys(document, "helper", _DOCUMENT) or not isinstance(document, dict):
        return reader.found
    if document.get("format") != FORMAT:
        reader.wrong("helper.format", f"is to be {FORMAT}", document.get("format"))
    for key in ("socket", "state_directory", "jobs_directory"):
        if key == "jobs_directory" and key not in document:
            continue
        if not is_absolute(document.get(key)):
            reader.wrong(f"helper.{key}", "an absolute path without '..'", document.get(key))
    _rate(reader, document, "helper")
    _secured(reader, document, "helper")
    limit = document.get("failure_limit")
    if limit is not None and reader.keys(limit, "helper.failure_limit", {"deaths", "within"}):
        if not is_integer(limit.get("deaths")) or limit["deaths"] < 1:
            reader.wrong("helper.failure_limit.deaths", "a whole number above 0", limit.get("deaths"))
        if not is_number(limit.get("within")) or limit["within"] <= 0:
            reader.wrong("helper.failure_limit.within", "seconds above 0", limit.get("within"))
    guards = document.get("guards", [])
    if not isinstance(guards, list) or not all(is_absolute(one) for one in guards):
        reader.wrong("helper.guards", "a list of absolute paths, the directories of guards", guards)
    _services(reader, document.get("services", {}), "helper.services")
    operations = document.get("operations")
    if not isinstance(operations, dict):
        reader.wrong("operations", "is to be a dictionary, name to operation", operations)
        return reader.found
    for key, operation in operations.items():
        path = f"operations.{key}"
        if not (isinstance(key, str) and name(key)):
            reader.wrong(path, NAME)
        elif reader.keys(operation, path, _OPERATION):
            _operation(reader, operation, path)
            if secured_by(document, operation):
                if not guards:
                    reader.wrong(f"{path}.secured_by", "is secured, but nothing says where guards are (helper.guards)")
                if operation.get("asynchronous", "never") != "never":
                    reader.wrong(f"{path}.asynchronous", "a job outlives the lease: a secured operation is none")
                if operation.get("isolation") == "pooled":
                    reader.wrong(f"{path}.isolation", "a secured operation has a process of its own, below the holder")
            if "services" not in document and any("service" in one for one in _list(operation.get("allow"))):
                reader.wrong(f"{path}.allow", "allows a service, but nothing says who manages services")
    _resources(reader, document.get("resources", {}), operations)
    for key in operations:
        method = generated.method_name(key) if isinstance(key, str) else ""
        if method in _ERRORS:
            reader.wrong(f"operations.{key}", "its method would have the name of an error", method)
    for first, second in generated.collisions(key for key in operations if isinstance(key, str)):
        method = generated.method_name(first)
        reader.wrong(f"operations.{second}", f"its method would have the name of that of {first}", method)
    return reader.found


def _resources(reader: Reader, resources: object, operations: dict[str, Any]) -> None:
    if not isinstance(resources, dict):
        reader.wrong("resources", "is to be a dictionary, name to resource", resources)
        return
    for key, one in resources.items():
        path = f"resources.{key}"
        if not (isinstance(key, str) and name(key)):
            reader.wrong(path, NAME)
            continue
        if not reader.keys(one, path, _RESOURCE):
            continue
        reader.text(one, "description", path)
        linger = one.get("linger", 0)
        if not is_number(linger) or not 0 <= linger <= LONGEST:
            reader.wrong(f"{path}.linger", f"seconds, at most {LONGEST}", linger)
        given: set[str] = set()
        for role in ("create", "destroy"):
            operation = operations.get(one.get(role)) if isinstance(one.get(role), str) else None
            if not isinstance(operation, dict):
                reader.wrong(f"{path}.{role}", "the name of an operation", one.get(role))
                continue
            declared = operation.get("parameters", {})
            declared = declared if isinstance(declared, dict) else {}
            if operation.get("idempotency", "once") == "once":
                reader.wrong(f"{path}.{role}", "is done again after a restart: its operation is to be idempotent")
            if operation.get("asynchronous", "never") != "never" or operation.get("coalesce") is True:
                reader.wrong(f"{path}.{role}", "is to be neither a job nor shared")
            if operation.get("returns") or any(
                isinstance(each, dict) and each.get("type") == "descriptor" for each in declared.values()
            ):
                reader.wrong(f"{path}.{role}", "is done without a caller, and so without descriptors")
            if any(isinstance(each, dict) and each.get("no_log") for each in declared.values()):
                reader.wrong(f"{path}.{role}", "is to have no secret parameters: what is held is written down")
            if role == "create":
                given = set(declared)
            elif not set(declared) <= given:
                reader.wrong(f"{path}.destroy", "has parameters that create has not")


def _list(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _secured(reader: Reader, section: dict[str, Any], path: str) -> None:
    resource = section.get("secured_by", "")
    if resource != "" and not service_name(resource) and not (isinstance(resource, str) and disk(resource)):
        reader.wrong(f"{path}.secured_by", "the name of a resource, or disk:PATH", resource)


def _rate(reader: Reader, section: dict[str, Any], path: str) -> None:
    rate = section.get("rate")
    if rate is None or not reader.keys(rate, f"{path}.rate", {"calls", "seconds"}) or not isinstance(rate, dict):
        return
    calls: Any = rate.get("calls")
    seconds: Any = rate.get("seconds")
    if not is_integer(calls) or not 1 <= calls <= 100000:
        reader.wrong(f"{path}.rate.calls", "1 to 100000", calls)
    if not is_number(seconds) or not 0 < seconds <= 86400:
        reader.wrong(f"{path}.rate.seconds", "seconds above 0, at most 86400", seconds)


def _services(reader: Reader, services: object, path: str) -> None:
    if not reader.keys(services, path, _SERVICES) or not isinstance(services, dict) or not services:
        return
    reader.choice(services, "identity", path, ("auto", "pidfd", "user"))
    if services.get("manager") not in ("embedded", "systemd"):
        reader.wrong(f"{path}.manager", "embedded or systemd", services.get("manager"))
    elif services["manager"] == "embedded" and not is_absolute(services.get("scan_directory")):
        wanted = "the supervisor's directory of services, an absolute path"
        reader.wrong(f"{path}.scan_directory", wanted, services.get("scan_directory"))
    users = services.get("users", {})
    if not isinstance(users, dict) or not all(service_name(key) and _account(one) for key, one in users.items()):
        reader.wrong(f"{path}.users", "service to user")


def _operation(reader: Reader, operation: dict[str, Any], path: str) -> None:
    reader.text(operation, "description", path)
    reader.choice(operation, "idempotency", path, IDEMPOTENCY)
    reader.choice(operation, "on_disconnect", path, ON_DISCONNECT)
    reader.choice(operation, "isolation", path, ISOLATION)
    reader.choice(operation, "asynchronous", path, ASYNCHRONOUS)
    for key in ("long_lived", "coalesce", "stream"):
        reader.boolean(operation, key, path)
    if operation.get("coalesce") is True:
        if operation.get("idempotency", "once") == "once":
            reader.wrong(f"{path}.coalesce", "a shared run may be repeated: say idempotency: pure or idempotent")
        if operation.get("asynchronous", "never") != "never" or operation.get("stream") is True:
            reader.wrong(f"{path}.coalesce", "a job has an id of its own, and a stream one reader")
    if operation.get("stream") is True and ("function" in operation or operation.get("asynchronous") == "always"):
        reader.wrong(f"{path}.stream", "only a program that is no job can be read as it runs")
    if operation.get("long_lived") is True and operation.get("asynchronous") != "always":
        reader.wrong(f"{path}.long_lived", "only a job outlives the helper: say asynchronous: always")
    if operation.get("asynchronous", "never") != "never" and operation.get("isolation") == "pooled":
        reader.wrong(f"{path}.isolation", "a job has a process of its own")
    if operation.get("seccomp", True) not in (True, False, "required") or is_number(operation.get("seccomp")):
        reader.wrong(f"{path}.seccomp", "true, false or required", operation["seccomp"])
    reader.boolean(operation, "unsecured", path)
    _secured(reader, operation, path)
    if operation.get("unsecured") and operation.get("secured_by"):
        reader.wrong(f"{path}.unsecured", "is secured_by a resource: leave one of the two out")
    _forbid(reader, operation, path)
    timeout = operation.get("timeout", TIMEOUT)
    longest = LONGEST_JOB if operation.get("asynchronous") == "always" else LONGEST
    if not is_number(timeout) or not 0 < timeout <= longest:
        reader.wrong(f"{path}.timeout", f"seconds above 0, at most {longest}", timeout)
    _rate(reader, operation, path)
    memory = operation.get("memory_max")
    if memory is not None and not (is_integer(memory) and memory >= 1048576):
        reader.wrong(f"{path}.memory_max", "bytes, at least 1048576", memory)
    user = operation.get("user", "root")
    if not _account(user):
        reader.wrong(f"{path}.user", "the name or number of a user", user)
    if "directory" in operation and not is_absolute(operation["directory"]):
        reader.wrong(f"{path}.directory", "an absolute path without '..'", operation["directory"])
    capabilities = operation.get("capabilities", [])
    if not isinstance(capabilities, list):
        reader.wrong(f"{path}.capabilities", "a list of names such as net_admin", capabilities)
    else:
        for one in capabilities:
            if not isinstance(one, str) or one not in NUMBERS:
                reader.wrong(f"{path}.capabilities", "no such capability; they are written like net_admin", one)
    _allow(reader, operation.get("allow"), f"{path}.allow")
    parameters = operation.get("parameters", {})
    if not isinstance(parameters, dict):
        reader.wrong(f"{path}.parameters", "is to be a dictionary, name to parameter", parameters)
        parameters = {}
    for key, parameter in parameters.items():
        below = f"{path}.parameters.{key}"
        if not (isinstance(key, str) and name(key)):
            reader.wrong(below, NAME)
        else:
            read(reader, parameter, below)
    _descriptors(reader, operation, parameters, path)
    _templates(reader, operation, parameters, path)


def _descriptors(reader: Reader, operation: dict[str, Any], parameters: dict[str, Any], path: str) -> None:
    count = sum(isinstance(one, dict) and one.get("type") == "descriptor" for one in parameters.values())
    if count > DESCRIPTORS:
        reader.wrong(f"{path}.parameters", f"at most {DESCRIPTORS} descriptors come with a call", count)
    returns = operation.get("returns")
    if returns is not None:
        if not isinstance(returns, dict) or returns.get("type") != "descriptor":
            reader.wrong(f"{path}.returns", "{type: descriptor, kinds: [...], access: ...}, of a function")
        else:
            reader.keys(returns, f"{path}.returns", {"type", "kinds", "access"})
            read(reader, {**returns, "type": "descriptor"}, f"{path}.returns")
        if "function" not in operation:
            reader.wrong(f"{path}.returns", "only a function returns something")
        if operation.get("idempotency", "once") == "once":
            reader.wrong(f"{path}.returns", "a descriptor can't be kept for who asks again: not for `once`")
    if not count and returns is None:
        return
    if operation.get("asynchronous", "never") != "never":
        reader.wrong(f"{path}.asynchronous", "a descriptor lives no longer than its call: not for jobs")
    if operation.get("coalesce") is True:
        reader.wrong(f"{path}.coalesce", "two descriptors are never the same")


def _forbid(reader: Reader, operation: dict[str, Any], path: str) -> None:
    forbid = operation.get("forbid", [])
    if not (isinstance(forbid, list) and all(isinstance(one, str) and one in FORBID for one in forbid)):
        reader.wrong(f"{path}.forbid", f"a list of {' and '.join(FORBID)}", forbid)
        return
    if "programs" in forbid and "function" not in operation:
        reader.wrong(f"{path}.forbid", "the operation is a program itself", "programs")
    if forbid and operation.get("seccomp") is False:
        reader.wrong(f"{path}.forbid", "is for the filter that `seccomp: false` leaves out")


def _allow(reader: Reader, allow: object, path: str) -> None:
    if not isinstance(allow, list):
        reader.wrong(path, f"is to be a list of {_WHO}; [] allows root alone", allow)
        return
    for number, one in enumerate(allow):
        if not (isinstance(one, dict) and len(one) == 1 and set(one) <= {"user", "group", "service"}):
            reader.wrong(f"{path}[{number}]", f"is to be one of {_WHO}")
        elif "service" in one:
            if not service_name(one["service"]):
                reader.wrong(f"{path}[{number}]", "the name of a service", one["service"])
        elif not _account(next(iter(one.values()))):
            reader.wrong(f"{path}[{number}]", "a name or a number", next(iter(one.values())))


def _templates(reader: Reader, operation: dict[str, Any], parameters: dict[str, Any], path: str) -> None:
    if "function" in operation:
        _function(reader, operation, parameters, path)
        return
    if operation.get("isolation") == "pooled":
        reader.wrong(f"{path}.isolation", "a program has a process of its own; only functions can be pooled")
    argv = operation.get("argv")
    if not (isinstance(argv, list) and argv and all(is_text(word) for word in argv)):
        reader.wrong(f"{path}.argv", "is to be a list of texts, the program and its arguments; or say function", argv)
        argv = ["/"]
    if not is_absolute(argv[0]):
        reader.wrong(f"{path}.argv[0]", "the program is to be an absolute path, and no placeholder", argv[0])
    used = set()
    for number, word in enumerate(argv[1:], 1):
        used |= _placeholder(reader, word, parameters, f"{path}.argv[{number}]")
        key = word[1:-1]
        if placeholder(word) and isinstance(parameters.get(key), dict) and parameters[key].get("no_log"):
            reader.wrong(f"{path}.argv[{number}]", "all users see arguments: pass a secret in the environment", word)
    for below, value in _environment(reader, operation, path):
        used |= _placeholder(reader, value, parameters, below)
        one = parameters.get(value[1:-1]) if placeholder(value) else None
        if isinstance(one, dict) and (one.get("type") == "path" or "flag" in one):
            reader.wrong(below, "a path or a flag can be an argument only", value)
    streams: set[str] = set()
    for key, parameter in parameters.items():
        form = parameter.get("form") if isinstance(parameter, dict) and parameter.get("type") == "descriptor" else None
        if form in ("input", "output"):
            if key in used or form in streams:
                reader.wrong(f"{path}.parameters.{key}", f"is the {form} of the program, and one and nothing else is")
            streams.add(form)
        elif isinstance(key, str) and key not in used:
            reader.wrong(f"{path}.parameters.{key}", f"is used nowhere: write '{{{key}}}' as an argument")


def _function(reader: Reader, operation: dict[str, Any], parameters: dict[str, Any], path: str) -> None:
    if "argv" in operation:
        reader.wrong(path, "is to have argv or function, not both")
    declared = operation["function"]
    if reader.keys(declared, f"{path}.function", {"file", "name"}):
        if not is_absolute(declared.get("file")):
            reader.wrong(f"{path}.function.file", "an absolute path without '..'", declared.get("file"))
        called = declared.get("name")
        if not (isinstance(called, str) and called.isidentifier() and not called.startswith("_")):
            reader.wrong(f"{path}.function.name", "the name of a function in the file, without '_' before it", called)
    for key, parameter in parameters.items():
        if isinstance(parameter, dict) and "flag" in parameter:
            reader.wrong(f"{path}.parameters.{key}.flag", "is for arguments; a function is given true or false")
        if isinstance(parameter, dict) and "form" in parameter:
            reader.wrong(f"{path}.parameters.{key}.form", "is for programs; a function is given the number")
        if keyword.iskeyword(key):
            reader.wrong(f"{path}.parameters.{key}", "is a word of Python, and so no name of a function's parameter")
    for below, value in _environment(reader, operation, path):
        if _any_placeholder(value):
            reader.wrong(below, "a function is given its parameters as such, not in the environment", value)


def _environment(reader: Reader, operation: dict[str, Any], path: str) -> list[tuple[str, str]]:
    """Judge the environment; gives the texts in it, each with its path."""
    environment = operation.get("environment", {})
    if not isinstance(environment, dict):
        reader.wrong(f"{path}.environment", "is to be a dictionary, NAME to text", environment)
        environment = {}
    texts = []
    for key, value in environment.items():
        below = f"{path}.environment.{key}"
        if not (isinstance(key, str) and _variable(key)):
            reader.wrong(below, "no name of a variable")
        if is_text(value):
            texts.append((below, value))
        elif not is_integer(value):
            reader.wrong(below, "text or a whole number; quote anything else", value)
    return texts


def _placeholder(reader: Reader, word: str, parameters: dict[str, Any], path: str) -> set[str]:
    """Judge one word of a template; gives the parameters that it uses."""
    found = placeholder(word)
    if not found:
        if _any_placeholder(word):
            reader.wrong(path, "a placeholder is a whole argument: nothing may stand beside it", word)
        return set()
    if found not in parameters:
        reader.wrong(path, "there is no such parameter", word)
    return {found}


def _account(value: object) -> bool:
    return (is_text(value) and bool(value)) or (is_integer(value) and 0 <= value < 2**32 - 1)  # type: ignore[operator]


def service_name(value: object) -> bool:
    """Say whether *value* can be the name of a supervised service, and so of its directory."""
    return isinstance(value, str) and _service(value) is not None
