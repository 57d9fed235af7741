# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`holdfast hold` and `holdfast register`: read what is to be held, and hold it. PRIVATE to the collection.

Whoever starts a holder for somebody else (the module `lease`, the verb `lease acquire`) gives one line of JSON on
standard input, which is a socket, and gets one line back: the grant, or why there is none. If he goes away before that,
the holder does too.
"""

from __future__ import annotations

import os
import sys

from ..._lean import json
from ..._supervise._embedded import files
from .. import naming
from ..drivers import make
from ..interface import RESOURCE_NAME, DriverRefused, LeaseError
from ..modes import split
from ..places import folder_of, holders, store_of
from .daemon import have_standard, lock_guard
from .door import Door
from .guard import UNUSABLE
from .holder import LONGEST, Holder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

USAGE = """\
usage: holdfast hold --resource NAME[:MODE] --owner NAME [options]
       holdfast register [--name HOST] [options]
  --driver file|etcd|sanlock  who keeps the lease (file)
  --parameter NAME=VALUE     for the driver, any number of times; --directory DIR is short for one
  --seconds SECONDS          end by itself after this time
  --wait SECONDS | --no-wait stand in line for so long, or not at all (default: without end)
  --note NAME=VALUE          stands beside the lease, for whoever finds it held; of a host: a variable
  --safety strict | standard strict: refuse while a safety hole is open (standard)
  --state DIR                where state and socket go (/run/holdfast/mutexes, or ~/.holdfast/run/mutexes)
register holds host:HOST, so that the inventory plugin finds the host while it is alive.
"""
_VALUES = frozenset(
    ("resource", "owner", "name", "driver", "parameter", "directory", "seconds", "wait", "note", "safety", "state")
)
#: Bytes that a request may have.
_LIMIT = 65536


class _Wrong(ValueError):
    """The command line, or the request, is wrong."""


def main(verb: str, arguments: list[str]) -> int:
    """Hold, and give an exit code: 0 after an orderly end, 2 wrong usage, 75 held by somebody else, 111 refused."""
    have_standard()
    reports = -1
    try:
        if arguments == ["--request"]:
            reports = os.dup(0)
            request = _request()
        else:
            request = _parse(verb, arguments)
    except ValueError as error:
        sys.stderr.write(f"holdfast {verb}: {error}\n{USAGE}")
        return 2
    try:
        return _hold(request, reports)
    except files.Busy:
        text = f"{request['owner']} has a holder of {request['resource']} here already"
    except LeaseError as error:
        text = str(error)
    except OSError as error:
        text = f"{error.filename or request['resource']}: {error.strerror or error}"
    sys.stderr.write(f"holdfast {verb}: {text}\n")
    if reports >= 0:
        os.write(reports, json.dumps({"error": "refused", "message": text, "holders": []}).encode() + b"\n")
    return UNUSABLE


def _request() -> dict[str, Any]:
    text = b""
    while not text.endswith(b"\n"):
        piece = os.read(0, _LIMIT)
        if not piece or len(text) > _LIMIT:
            raise _Wrong("no request on standard input")
        text += piece
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return dict(json.loads(text))


def _parse(verb: str, arguments: list[str]) -> dict[str, Any]:
    request: dict[str, Any] = {"driver": "file", "parameters": {}, "note": {}, "wait": -1.0, "safety": "standard"}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        if word == "--no-wait":
            request["wait"] = 0.0
            continue
        if not word.startswith("--") or name not in _VALUES:
            raise _Wrong(f"there is no option {word}")
        if not equals:
            if not rest:
                raise _Wrong(f"--{name} needs a value")
            value = rest.pop(0)
        if name in ("parameter", "note"):
            key, equals, value = value.partition("=")
            if not equals or (name == "parameter" and "password" in key and not key.endswith("_file")):
                raise _Wrong(f"--{name} {key}: NAME=VALUE, and no secrets: those are in files")
            request["parameters" if name == "parameter" else "note"][key] = value
        elif name == "directory":
            request["parameters"][name] = value
        elif name in ("seconds", "wait"):
            request[name] = float(value)
        else:
            request[name] = value
    if verb == "register":
        host = request.get("name") or os.uname().nodename
        request.update(resource=f"host:{host}", owner=host, note={"host": os.uname().nodename, "vars": request["note"]})
    resource = str(request.get("resource") or "")
    request["resource"], request["mode"] = split(resource)
    if not request.get("owner"):
        raise _Wrong("--owner is missing")
    return request


def _hold(request: dict[str, Any], reports: int) -> int:
    asked, owner, parameters = str(request["resource"]), str(request["owner"]), dict(request["parameters"])
    resource = naming.known_as(asked)
    if not RESOURCE_NAME(resource):
        raise DriverRefused(f"{resource!r}: a resource's name has letters, digits and _.@:+- (64 at most)")
    seconds = request.get("seconds")
    if seconds is not None and not 0 < seconds <= LONGEST:
        raise DriverRefused(f"{seconds:g} s is not between 0 and {LONGEST:g}")
    name = folder_of(request["driver"], parameters, resource, owner)
    base = os.path.realpath(request.get("state") or holders())
    folder = os.path.join(base, name)
    _occupy(folder)
    _tidy(base, name)
    driver = make(request["driver"], owner, parameters)
    naming.register(driver, asked, request["mode"], resource)
    holder = Holder(resource, folder, driver, owner, seconds)
    holder.resources, holder.disks = [resource], naming.disks_of({resource: asked})
    holder.parameters = parameters
    holder.keeper = [request["driver"], store_of(parameters)]
    holder.reports = reports
    holder.strict = request.get("safety") == "strict"
    Door(holder, f"{folder}/socket")
    holder.begin(float(request.get("wait", 0.0)), request.get("note") or {})
    try:
        return holder.run(0.0)
    finally:
        _remove(folder)


def _occupy(folder: str) -> None:
    """Make our folder and lock it. Whoever ends removes his: look that ours is still there. Raises files.Busy, OSError."""
    while True:
        os.makedirs(folder, 0o755, exist_ok=True)
        try:
            lock = lock_guard(folder)
            if os.path.samestat(os.fstat(lock), os.stat(f"{folder}/lock")):
                return
            os.close(lock)
        except FileNotFoundError:
            continue


def _tidy(base: str, ours: str) -> None:
    """Remove the folders of holders that were killed: every run of a play may have had another one.

    Our own is not even opened: closing any descriptor of a file ends the process's fcntl locks on it.
    """
    for name in set(os.listdir(base)) - {ours}:
        folder = os.path.join(base, name)
        try:
            lock = files.lock(f"{folder}/lock")
        except (files.Busy, OSError):
            continue
        _remove(folder)
        os.close(lock)


def _remove(folder: str) -> None:
    for left in ("socket", "token", "state.json", "log", "lock"):
        files.remove(f"{folder}/{left}")
    try:
        os.rmdir(folder)
    except OSError:
        pass
