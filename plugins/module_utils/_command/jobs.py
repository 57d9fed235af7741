# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`holdfast jobs`: what runs, and ran, for its caller. PRIVATE to the collection."""

from __future__ import annotations

import json
import sys
import time

from .._helper.client import Helper, HelperError
from .exits import FAILED, OK, USAGE, CommandError
from .terminal import complain, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

#: Seconds that a job may take before `--follow` gives up waiting for it: a month, the longest timeout there is.
PATIENCE = 2592000.0


def jobs(options: Namespace) -> int:
    """Show the jobs, or one; gives the exit code."""
    helper = Helper(options.socket, first_launch=options.wait, answer=PATIENCE if options.follow else 60.0)
    if options.id is None and (options.follow or options.cancel or options.user is not None):
        raise CommandError(USAGE, "--follow, --cancel and --user need the ID of a job")
    try:
        if options.id is None:
            return _all(helper.jobs(), options)
        job = helper.cancel(options.id, options.user) if options.cancel else {}
        if options.follow and not options.cancel:
            job = _follow(helper, options)
        return _one(job or helper.job(options.id, user=options.user), options)
    except HelperError as error:
        raise CommandError(FAILED, str(error)) from None


def _all(found: list[dict[str, Any]], options: Namespace) -> int:
    if options.json:
        write(json.dumps(found, indent=2))
        return OK
    for job in found:
        write("  ".join([job["id"], job["operation"], *_said(job)]))
    return OK


def _one(job: dict[str, Any], options: Namespace) -> int:
    if options.json:
        write(json.dumps(job))
    else:
        write("  ".join([job["operation"], *_said(job)]))
        sys.stdout.write(job["stdout"])
        sys.stderr.write(job["stderr"])
        if job["result"] is not None:
            write(json.dumps(job["result"], ensure_ascii=False))
    return OK if job["state"] in ("queued", "running", "done") else FAILED


def _follow(helper: Helper, options: Namespace) -> dict[str, Any]:
    job: dict[str, Any] = {}
    said = ""
    for job in helper.follow(options.id, options.user):
        now = "  ".join(_said(job))
        if now != said and not options.json and job["state"] in ("queued", "running"):
            complain(now)
        said = now
    return job


def _said(job: dict[str, Any]) -> list[str]:
    words = [job["state"]]
    if job["exit"]:
        words.append(f"exit {job['exit']}")
    if job["error"] and job["error"] != job["state"]:
        words.append(job["error"])
    if job["message"]:
        words.append(job["message"])
    progress = job["progress"]
    if progress is not None and job["state"] == "running":
        words += [f"{progress['percent']:g} %"] if progress["percent"] is not None else []
        words += [progress["text"]] if progress["text"] else []
    began, ended = job["began"], job["ended"]
    if began is not None:
        words.append(f"{max((ended or time.time()) - began, 0):.1f} s")
    return words
