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

from .. import active, attending
from ..interface import BACKOFF, is_guarded

#: Below the scan directory: configuration, and the script that starts each service. Only root looks into it.
FOLDER = ".supervisord"
CONFIGURATION = "supervisord.conf"
PROGRAMS = "programs"
START = "start"
SOCKET = "supervisord.sock"
#: Seconds that mean "never": Supervisor has no word for it.
NEVER = 100_000_000

#: The exit code that gives up, see docs/definitions.md: a program that ends with it is not started again.
GIVES_UP = 100

START_TEXT = """\
#!/bin/sh
# Made by holdfast.supervision; changes are overwritten.
# Becomes a service, after whatever a killed supervisord has left of it. PAUSE, LONGEST in ms; DEATHS 0: no limit; FD -: none.
# ATTEND: what a parent of ours does after the end, -: there is none.
# start DIRECTORY STATE DEFINITION SIGNAL TENTHS PAUSE LONGEST DEATHS WITHIN FD ATTEND [NEEDED ... [--active NEEDED ...]]
directory=$1 state=$2 definition=$3 signal=$4 tenths=$5 pause=$6 longest=$7 deaths=$8 within=$9
mkdir -p "$2/starts" && cd "$2" || exit 111
shift 9
read -r boot </proc/sys/kernel/random/boot_id
# When a living process began: field 22 of proc_pid_stat(5), here the 20th.
began() {
    read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
    stat=${stat##*) }
    set -- $stat
    [ "$1" != Z ] && since=${20}
}
# Becomes a program of our runtime.
ours() {
    [ -z "${HOLDFAST_RUNTIME-}" ] || exec "$HOLDFAST_PYTHON" -I -S "$HOLDFAST_RUNTIME" "$@"
    exec holdfast "$@"
}
began $$ || exit 111
mine=$since waited=0
# Noted before anything is waited for, so that a start that is orphaned here is found by the next one.
: >"starts/$$.$mine.$boot" || exit 111
for path in starts/*; do
    entry=${path##*/} turn=0
    pid=${entry%%.*} rest=${entry#*.}
    before=${rest%%.*}
    [ "$entry" = "$$.$mine.$boot" ] && continue
    # Never two copies: nobody can take it over.
    while [ "${rest#*.}" = "$boot" ] && began "$pid" && [ "$since" = "$before" ]; do
        # Somebody who began later is the one to come through, even if he did not know of us when he looked.
        [ "$before" -le "$mine" ] || exit 111
        if [ "$turn" -eq 0 ]; then
            kill -s "$signal" "$pid"
        elif [ "$tenths" -gt 0 ] && [ "$turn" -ge "$tenths" ]; then
            kill -s KILL -- "-$pid" || kill -s KILL "$pid"
        fi 2>/dev/null
        turn=$((turn + 1)) waited=$((waited + 10))
        sleep 0.1
    done
    rm -f "$path"
done

# What is kept of former lives, until somebody starts it on purpose: the next pause, the last start, the starts in WITHIN.
next=$pause last='' recent='' kept='' count=0 births=0
[ -e past ] && read -r next last recent <past
[ -e process ] && read -r pid since _ births _ <process
for at in $recent; do
    [ $((mine - at)) -lt $((within * 100)) ] && kept="$kept $at" count=$((count + 1))
done
if [ "$deaths" -gt 0 ] && [ "$count" -ge "$deaths" ]; then
    echo "died $count times within $within s" >failed
    rm -f past
    exit 100
fi
rm -f failed
if [ -z "$last" ] || [ $((mine - last)) -ge 100 ]; then
    next=$pause
else
    # CONT, which hurts no service that may have been started by then: somebody asks for it.
    trap 'kill "$!"; exit 143' TERM HUP INT QUIT USR1 USR2 ALRM
    trap 'kill "$!"; next=0' CONT
    slept=$((next / 10))
    sleep "$((next / 1000)).$(printf %03d $((next % 1000)))" &
    echo $$ >pausing
    wait $!
    trap - TERM HUP INT QUIT USR1 USR2 ALRM CONT
    rm -f pausing
    [ "$next" -gt 0 ] || slept=0 next=$((pause / 2))
    next=$((next * 2)) waited=$((waited + slept))
    [ "$next" -gt "$longest" ] && next=$longest
fi
fd=$1 attend=$2
shift 2
if [ "$#" -gt 0 ]; then
    echo "$$ $*" >waiting
    (ours await supervisord "${directory%/*}" "$@") || exit 111
    rm -f waiting
    # In ticks of 1/100 s, as the others.
    read -r now _ </proc/uptime
    waited=$((${now%.*}${now#*.} - mine))
fi
# When it really starts, to which no wait of ours counts.
start=$((mine + waited))
echo "$next $start $kept $mine" >past.new && mv past.new past || exit 111
# Ready when there is a line in it.
[ "$fd" = - ] || eval "exec $fd>ready" || exit 111
echo "$$ $mine $definition $((births + 1)) $start ${attend#-}" >process.new && mv process.new process || exit 111
cd "$directory" || exit 111
[ "$attend" = - ] && exec ./run
ours attend "$directory" "$state" "$attend"
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

[supervisorctl]
serverurl={_value(f"unix://{place.run}/{SOCKET}")}

[include]
files={_value(f"{place.scan}/{FOLDER}/{PROGRAMS}")}/*.conf
"""


def program(meta: Mapping[str, Any], identity: str, enabled: bool, place: Place) -> str:
    """Give the configuration of the service with this holdfast.json."""
    name = str(meta["name"])
    directory = f"{place.scan}/{name}"
    stop_signal, stop_timeout = stopping(meta)
    parent = attended(meta)
    start = [f"{place.scan}/{FOLDER}/{START}", directory, place.state(name), identity]
    command = shlex.join([*start, stop_signal, str(_whole(stop_timeout * 10)), *_again(meta)])
    group = meta.get("kill") == "group" and not is_guarded(meta) and not parent
    policy = attending.restart(meta)
    restart = {"always": "unexpected", "on_failure": "unexpected"}.get(policy, "false")
    lines = [
        f"; Made by holdfast.supervision from {directory}; changes are overwritten.",
        f"[program:{name}]",
        f"command={_value(command)}",
        f"directory={_value(directory)}",
        f"autostart={_boolean(enabled)}",
        f"autorestart={'false' if meta.get('state') == 'once' else restart}",
        f"exitcodes={GIVES_UP}" if policy == "always" else f"exitcodes=0,{GIVES_UP}",
        # Whether it is ready is ours to judge; to Supervisor, what ends before startsecs is an attempt that counts.
        "startsecs=0",
        f"stopsignal={stop_signal}",
        f"stopwaitsecs={_whole(stop_timeout or NEVER)}",
        # A guard is asked alone: it stops the service, and then gives the lease back.
        f"stopasgroup={_boolean(group)}",
        f"killasgroup={_boolean(group)}",
        "redirect_stderr=true",
        *_log(meta),
    ]
    return "\n".join(lines) + "\n"


def stopping(meta: Mapping[str, Any]) -> tuple[str, float]:
    """Give the signal that asks the program to end, and the seconds from that to KILL, 0 for no end."""
    if attended(meta):
        return "TERM", attending.stop_timeout(meta, finish=True)
    return str(meta.get("stop_signal") or "TERM"), float(meta.get("stop_timeout") or 0.0)


def attended(meta: Mapping[str, Any]) -> bool:
    """Tell whether a service has a parent of ours, which has what Supervisor has not.

    For a getty that is a session of its own: who leads a process group, as each program of Supervisor does, can have none.
    """
    return attending.asked(meta) or "finish" in (meta.get("files") or {}) or meta.get("type") == "getty"


def _again(meta: Mapping[str, Any]) -> list[str]:
    """Give what the start script has to know of starting again, of readiness, and of what comes after."""
    backoff, limit = meta.get("backoff") or BACKOFF, meta.get("failure_limit") or {}
    number = (meta.get("readiness") or {}).get("notification_fd")
    pauses = [str(round(float(backoff[key]) * 1000)) for key in ("initial", "maximum")]
    within = _whole(limit.get("within") or 60.0)
    return [
        *pauses,
        str(int(limit.get("deaths") or 0)),
        str(within),
        "-" if number is None else str(number),
        attending.FINISH if attended(meta) else "-",
        *active.words(meta),
    ]


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
