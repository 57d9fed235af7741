# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The init script of one service for OpenRC. PRIVATE to the collection.

See openrc-run(8). What a script notes in RC_SVCDIR is what start-stop-daemon(8) notes: rc-status reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .portable import Portable, word

#: In the scan directory: what the role has written for this backend.
FOLDER = ".openrc"
SETTINGS = "settings.json"
#: The line that makes a script ours, and what our scripts' names begin with. The supervisor's own is `holdfast`.
MARKER = "# Made by holdfast.supervision; changes are overwritten."
PREFIX = "holdfast."
SUPERVISOR = "holdfast"
#: Seconds for a verdict beyond what the definition says, and those that mean "as long as it takes".
PATIENCE, NEVER = 30.0, 86400.0


def script(service: Portable, scan: str, settings: Mapping[str, str], known: Iterable[str]) -> str:
    """Give the script of a service."""
    meta, name = service.meta, service.name
    readiness = meta.get("readiness") or {}
    stop = float(meta.get("stop_timeout") or 0.0)
    needs = [need for need in meta.get("needs") or () if need in known]
    start = "once" if meta.get("state") == "once" else "start"
    ready = PATIENCE + float(readiness.get("timeout") or 0.0)
    note = notes(service, scan)
    return "\n".join(
        [
            "#!/sbin/openrc-run",
            MARKER,
            f"# From {scan}/{name}.",
            "",
            f"description={word(str(meta.get('description') or name))}",
            'extra_started_commands="reload"',
            "",
            "depend() {",
            f"    need {' '.join([SUPERVISOR, *(PREFIX + need for need in needs)])}",
            "}",
            "",
            "_holdfast() {",
            "    # Its verdict is ours; what it says beside that is for people.",
            f'    {word(settings["python"])} -I -S {word(settings["runtime"])} --scan {word(scan)} "$@" {word(name)}',
            "}",
            "",
            "start() {",
            f"    ebegin {word(f'Starting {name}')}",
            f"    _holdfast {start} --timeout {ready:g} >/dev/null",
            "    eend $? || return 1",
            *(
                [
                    '    mkdir -p "$RC_SVCDIR/daemons/$RC_SVCNAME" || return 1',
                    f"    printf '%s\\n' {' '.join(word(line) for line in note.splitlines())} >\"$RC_SVCDIR/daemons/$RC_SVCNAME/001\"",
                ]
                if note is not None
                else []
            ),
            "}",
            "",
            "stop() {",
            f"    ebegin {word(f'Stopping {name}')}",
            f"    _holdfast stop --timeout {stop + PATIENCE if stop else NEVER:g} >/dev/null",
            "    eend $? || return 1",
            '    rm -rf "$RC_SVCDIR/daemons/$RC_SVCNAME"',
            "}",
            "",
            "reload() {",
            f"    ebegin {word(f'Reloading {name}')}",
            f"    _holdfast reload --timeout {ready:g} >/dev/null",
            "    eend $?",
            "}",
            "",
        ]
    )


def notes(service: Portable, scan: str) -> str | None:
    """Give what says where the pid is; None for a service that may end and be well: OpenRC would call it crashed."""
    meta = service.meta
    passing = meta.get("restart", "always") != "always" and meta.get("type") != "oneshot"
    if meta.get("state") == "once" or meta.get("type") == "periodic" or passing:
        return None
    return f"exec=\npidfile={scan}/.holdfast/supervise/{service.name}/pid\n"
