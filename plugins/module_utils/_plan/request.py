# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one run is asked to do: the payload of the action plugin, read. PRIVATE to the collection."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from .._definition.names import is_name
from .directories import SECRET_MODE, Wanted
from .mask import Mask

FORMAT = 1
#: Bytes that a payload may have when it is unpacked; 2 000 services have a few million.
UNPACKED_LIMIT = 256 * 1024 * 1024


class BadPayload(ValueError):
    """The payload is not one of this version of the collection."""


class Request:
    """services: by name, in the order in which they are to be started. absent: names that shall not be there.

    prune: remove what is ours and not listed. timeout: seconds for the whole wait, None for what the definitions allow.
    command_check: whether programs and directories have to exist. offline: no supervisor is asked. check_mode: nothing is changed. with_diff: contents are
    collected for a diff. mask: covers the secrets in what is shown. having: the backends that have a feature, for each that
    the present one lacks. runtime: the directory that the runtime is in.
    """

    __slots__ = (
        "absent",
        "check_mode",
        "command_check",
        "having",
        "mask",
        "offline",
        "prune",
        "runtime",
        "scan",
        "services",
        "timeout",
        "with_diff",
    )

    def __init__(
        self,
        scan: str,
        services: dict[str, Wanted],
        absent: list[str] | None = None,
        *,
        prune: bool = False,
        timeout: float | None = None,
        command_check: bool = True,
        offline: bool = False,
        check_mode: bool = False,
        with_diff: bool = False,
        mask: Mask | None = None,
        having: Mapping[str, list[str]] | None = None,
        runtime: str = "",
    ) -> None:
        self.scan = scan
        self.services = services
        self.absent = absent or []
        self.prune = prune
        self.timeout = timeout
        self.command_check = command_check
        self.offline = offline
        self.check_mode = check_mode
        self.with_diff = with_diff
        self.mask = mask or Mask()
        self.having = having or {}
        self.runtime = runtime


class Content(NamedTuple):
    """What a payload has for a Request: the services in the order of their start, and the names that shall be absent."""

    services: dict[str, Wanted]
    absent: list[str]
    having: dict[str, list[str]]


def read(payload: str, secrets: Mapping[str, Any], log_directory: str) -> Content:
    """Unpack a payload.

    *secrets* has the value for each id that the payload names. *log_directory* is where the logs are of services that
    name no directory of their own. Raises BadPayload.
    """
    data = _unpack(payload)
    if data.get("format") != FORMAT:
        raise BadPayload(f"the payload has the format {data.get('format')!r}, this module reads {FORMAT}")
    entries = data.get("services") or {}
    # In the given order, and behind it whatever it does not mention.
    order = dict.fromkeys([*(name for name in data.get("order") or () if name in entries), *entries])
    absent = list(data.get("absent") or ())
    for name in (*order, *absent):
        if not is_name(name):
            raise BadPayload(f"{name!r} cannot be the name of a service")
    services = {name: _wanted(name, entries[name], secrets, log_directory) for name in order}
    return Content(services, absent, data.get("having") or {})


def _unpack(payload: str) -> dict[str, Any]:
    try:
        packed = base64.b64decode(payload.encode("ascii"), validate=True)
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(packed, UNPACKED_LIMIT)
        if unpacker.unconsumed_tail or not unpacker.eof:
            raise BadPayload("the payload is cut off or too large")
        data = json.loads(text)
    except (UnicodeError, binascii.Error, zlib.error, json.JSONDecodeError) as error:
        raise BadPayload(f"the payload cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise BadPayload("the payload is not an object")
    return data


def _wanted(name: str, entry: Mapping[str, Any], secrets: Mapping[str, Any], log_directory: str) -> Wanted:
    try:
        files: dict[str, tuple[bytes, int]] = {
            path: (file["content"].encode("utf-8", "surrogateescape"), int(file["mode"]))
            for path, file in entry["files"].items()
        }
        secret_files = entry.get("secret_files") or {}
        for path, key in secret_files.items():
            files[path] = str(secrets[key]).encode("utf-8", "surrogateescape"), SECRET_MODE
        meta = dict(entry["holdfast"])
        log = meta.get("log") or {}
        if log.get("to") == "directory" and not log.get("directory"):
            meta["log"] = dict(log, directory=f"{log_directory}/{name}")
        was = entry.get("was") or ""
        if was and not is_name(was):
            raise BadPayload(f"{was!r} cannot be the former name of a service")
        return Wanted(name, meta, files, frozenset(secret_files), entry.get("verify"), entry.get("timeout"), was)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadPayload(f"{name}: the payload is not complete ({type(error).__name__}: {error})") from None
