# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`holdfast call`, `holdfast operations` and `holdfast outcome`. PRIVATE to the collection."""

from __future__ import annotations

import contextlib
import json
import os
import sys

from .._helper.client import Helper, HelperError, OutcomeUnknown
from .exits import FAILED, OK, USAGE, CommandError
from .terminal import complain, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any


def call(options: Namespace) -> int:
    """Call an operation; gives its exit code."""
    helper = Helper(options.socket, first_launch=options.wait)
    try:
        known = {one["name"]: one for one in helper.operations()}
        kinds = {one["name"]: one["type"] for one in known.get(options.operation, {}).get("parameters", ())}
        parameters = parameters_of(options.parameters, kinds)
        if options.job:
            if options.fd or options.run:
                raise CommandError(USAGE, "a job has no descriptors: --job goes neither with --fd nor with --run")
            job = helper.start(options.operation, parameters, options.id or "")
            write(json.dumps(job) if options.json else job["id"])
            return OK
        with contextlib.ExitStack() as opened:
            passed = dict(_descriptor(word, opened) for word in options.fd)
            if options.run:
                return _run(options.run, helper.open(options.operation, parameters, descriptors=passed))
            result = helper.call(options.operation, parameters, options.id or "", descriptors=passed)
    except OutcomeUnknown as error:
        raise CommandError(FAILED, f"{error} (holdfast outcome {error.id})") from None
    except HelperError as error:
        raise CommandError(FAILED, str(error)) from None
    if options.json:
        write(json.dumps(result))
    else:
        sys.stdout.write(result["stdout"])
        sys.stderr.write(result["stderr"])
        if result.get("result") is not None:
            write(json.dumps(result["result"], ensure_ascii=False))
        if result["truncated"]:
            complain("holdfast: there was more output than this")
    code = int(result["exit"])
    return code if code >= 0 else 128 - code


def operations(options: Namespace) -> int:
    """Show what this user may call."""
    try:
        found = Helper(options.socket, first_launch=options.wait).operations()
    except HelperError as error:
        raise CommandError(FAILED, str(error)) from None
    if options.json:
        write(json.dumps(found, indent=2))
        return OK
    for one in found:
        words = [
            f"{parameter['name']}={parameter['type']}"
            if parameter["required"]
            else f"[{parameter['name']}={parameter['type']}]"
            for parameter in one["parameters"]
        ]
        write(" ".join([one["name"], *words]))
        write(f"    {one['idempotency']}, at most {one['timeout']:g} s. {one['description']}".rstrip())
    return OK


def outcome(options: Namespace) -> int:
    """Show what became of a call."""
    try:
        found = Helper(options.socket, first_launch=options.wait).outcome(options.id)
    except HelperError as error:
        raise CommandError(FAILED, str(error)) from None
    write(json.dumps(found) if options.json else found["state"])
    return OK


def _descriptor(word: str, opened: contextlib.ExitStack) -> tuple[str, int]:
    """Read NAME=PATH or NAME=NUMBER; what is opened for it is closed by *opened*."""
    name, equals, what = word.partition("=")
    if not equals or not what:
        raise CommandError(USAGE, f"{word}: descriptors are written NAME=PATH or NAME=NUMBER")
    try:
        if what.isdecimal():
            os.fstat(int(what))
            return name, int(what)
        # A FIFO, whose other end somebody may be about to open, does not hold us up.
        descriptor = os.open(what, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, OverflowError) as error:
        raise CommandError(FAILED, f"{what}: {getattr(error, 'strerror', error)}") from None
    opened.callback(os.close, descriptor)
    os.set_blocking(descriptor, True)
    return name, descriptor


def _run(command: list[str], descriptor: int) -> int:
    """Become a command that has a descriptor; returns only by what it raises."""
    os.set_inheritable(descriptor, True)
    try:
        os.execvpe(command[0], command, {**os.environ, "HOLDFAST_DESCRIPTOR": str(descriptor)})
    except OSError as error:
        raise CommandError(FAILED, f"{command[0]}: {error.strerror}") from None


def parameters_of(words: list[str], kinds: dict[str, str]) -> dict[str, Any]:
    """Read NAME=VALUE; the operation says what is a number."""
    values: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise CommandError(USAGE, f"{word}: parameters are written NAME=VALUE")
        values[name] = text
        if kinds.get(name) == "integer":
            try:
                values[name] = int(text)
            except ValueError:
                raise CommandError(USAGE, f"{word}: a whole number is needed") from None
        elif kinds.get(name) == "boolean":
            if text not in ("true", "false"):
                raise CommandError(USAGE, f"{word}: true or false is needed")
            values[name] = text == "true"
    return values
