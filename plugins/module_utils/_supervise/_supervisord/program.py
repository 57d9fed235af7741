# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A service directory as a program of Supervisor. PRIVATE to the collection.

https://supervisord.org/configuration.html has the keys.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

#: Below the scan directory: configuration, and the script that starts each service. Only root looks into it.
FOLDER = ".supervisord"
CONFIGURATION = "supervisord.conf"
PROGRAMS = "programs"
START = "start"
SOCKET = "supervisord.sock"
#: Seconds that mean "never": Supervisor has no word for it.
NEVER = 100_000_000

START_TEXT = """\
#!/bin/sh
# Made by holdfast.supervision; changes are overwritten.
# start DIRECTORY STATE DEFINITION: become the service, after whatever a killed supervisord has left of it.
mkdir -p "$2" || exit 111
began() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
if [ -r "$2/process" ] && read -r pid since <"$2/process" && [ -n "$since" ] && [ "$(began "$pid")" = "$since" ]; then
    # Never two copies: nobody can take it over.
    kill -KILL "-$pid" 2>/dev/null || kill -KILL "$pid"
    turn=0
    while [ "$(began "$pid")" = "$since" ] && [ "$turn" -lt 200 ]; do
        turn=$((turn + 1))
        sleep 0.05
    done
fi
echo "$$ $(began $$)" >"$2/process.new" && mv "$2/process.new" "$2/process" || exit 111
ln -sfn "$3" "$2/definition" || exit 111
cd "$1" || exit 111
exec ./run
"""


class Place:
    """Where things are. scan: service directories. run: the run directory."""

    __slots__ = ("run", "scan")

    def __init__(self, scan: str, run: str) -> None:
        self.scan = scan
        self.run = run

    def state(self, name: str) -> str:
        """Give the folder of the run directory that is a service's."""
        return f"{self.run}/units/{name}"

    def program(self, name: str) -> str:
        """Give the configuration of a service."""
        return f"{self.scan}/{FOLDER}/{PROGRAMS}/{name}.conf"


def configuration(place: Place) -> str:
    """Give the configuration of supervisord itself: a socket for root alone, and nothing on the network."""
    return f"""\
; Made by holdfast.supervision; changes are overwritten.
[unix_http_server]
file={_value(f"{place.run}/{SOCKET}")}
chmod=0700

[supervisord]
logfile={_value(f"{place.run}/supervisord.log")}
pidfile={_value(f"{place.run}/supervisord.pid")}
childlogdir={_value(place.run)}
umask=022
minfds=1024

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[include]
files={_value(f"{place.scan}/{FOLDER}/{PROGRAMS}")}/*.conf
"""


def program(meta: Mapping[str, Any], identity: str, enabled: bool, place: Place) -> str:
    """Give the configuration of the service with this holdfast.json."""
    name = str(meta["name"])
    leased = bool(meta.get("lease"))
    directory = f"{place.scan}/{name}"
    command = shlex.join([f"{place.scan}/{FOLDER}/{START}", directory, place.state(name), identity])
    group = meta.get("kill") == "group" and not leased
    restart = {"always": "true", "on_failure": "unexpected"}.get(str(meta.get("restart")), "false")
    lines = [
        f"; Made by holdfast.supervision from {directory}; changes are overwritten.",
        f"[program:{name}]",
        f"command={_value(command)}",
        f"directory={_value(directory)}",
        f"autostart={_boolean(enabled)}",
        f"autorestart={'false' if meta.get('state') == 'once' else restart}",
        "exitcodes=0",
        # Whether it is ready is ours to judge; to Supervisor, what ends before startsecs is an attempt that counts.
        "startsecs=0",
        f"stopsignal={meta.get('stop_signal') or 'TERM'}",
        f"stopwaitsecs={_whole(meta.get('stop_timeout') or NEVER)}",
        # A guard is asked alone: it stops the service, and then gives the lease back.
        f"stopasgroup={_boolean(group)}",
        f"killasgroup={_boolean(group)}",
        "redirect_stderr=true",
        *_log(meta),
    ]
    return "\n".join(lines) + "\n"


def _log(meta: Mapping[str, Any]) -> list[str]:
    log = meta.get("log") or {}
    if log.get("to") == "directory":
        return [
            f"stdout_logfile={_value(log['directory'])}/current",
            f"stdout_logfile_maxbytes={int(log.get('size') or 0)}",
            f"stdout_logfile_backups={int(log.get('count') or 0)}",
        ]
    if log.get("to") == "syslog":
        return ["stdout_logfile=NONE", "stdout_syslog=true"]
    return ["stdout_logfile=NONE"]


def _value(text: str) -> str:
    """Give a value in which nothing is replaced."""
    return str(text).replace("%", "%%")


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _whole(seconds: float) -> int:
    """Give whole seconds, which is what Supervisor counts in; rounded up."""
    return int(-(-float(seconds) // 1))
