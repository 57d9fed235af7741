# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Service directories as the suites of the daemontools family want them. PRIVATE to the collection.

Each is made from a portable one and leads back to it: its `run` notes what it starts and becomes the portable `run`,
which applies the process state and becomes the service. Files that are written while the service lives:

* `starting`: the starts that may still wait for a former process to end, as in `started`; written by `run`;
* `started`: pid, start time (in ticks of 1/100 s since boot), boot and definition of the process, and `attended` if it is a
  parent of ours; written by `run`;
* `ended`: exit code (-1 after a signal), signal and pid of the last one; `failed`: why it is not started again. By `finish`;
* `asked`: not empty when the next end was asked for; written by the backend, so that `finish` counts no death;
* `waiting`: the pid of a process that is not the service yet, and what it waits for, as `active.words`; written by `run`;
* `attended`, `definition`, `now`: of a parent of ours, see attending;
* `ready`: where the service writes its newline to, for suites that read none; `verified`: the pid whose check was good.
"""

from __future__ import annotations

from typing import Any

from . import active, attending
from .interface import BACKOFF
from .portable import Portable, word

EXECUTABLE = 0o755
PLAIN = 0o644

#: Files of a directory that change while the service lives: not part of what it shall be.
LIVE = (
    *("starting", "started", "ended", "failed", "asked", "waiting", "ready", "verified", "deaths", "pause"),
    *attending.FILES,
)

#: Variables of the init that are the root process's business.
_DROPPED = "NOTIFY_SOCKET WATCHDOG_PID WATCHDOG_USEC LISTEN_PID LISTEN_FDS LISTEN_FDNAMES INVOCATION_ID JOURNAL_STREAM"

Files = dict[str, tuple[str, int]]

#: The word in `started` for a parent of ours.
ATTENDED = "attended"
#: What `finish` of a dialect may be.
EXIT, BYTE, ANSWERED = "exit", "byte", "answered"


class Dialect:
    """What differs between the suites in the scripts.

    notification: whether the suite reads the notification fd itself. session: what puts a process into a session of its
    own, "" where the suite does that. finish: how `finish` says that the service stays down: exit (125, s6), byte (d,
    runit) or answered (the same, and it waits until that has been read) where the suite has no finish, and a parent of ours
    becomes it. asked: lines that end finish when nobody wants the service up. signalled: what finish gets as exit code
    after a signal.
    """

    __slots__ = ("asked", "backend", "finish", "notification", "session", "signalled", "suite")

    def __init__(
        self,
        suite: str,
        *,
        notification: bool,
        session: str,
        finish: str,
        asked: tuple[str, ...] = (),
        signalled: int = -1,
    ) -> None:
        self.suite = suite
        self.backend = suite.replace("-", "_")
        self.notification = notification
        self.session = session
        self.finish = finish
        self.asked = asked
        self.signalled = signalled

    @property
    def native_finish(self) -> bool:
        """Tell whether the suite runs `finish`."""
        return self.finish != ANSWERED


def run(service: Portable, dialect: Dialect) -> str:
    """Give the script `run`."""
    readiness = service.meta.get("readiness") or {}
    number = readiness.get("notification_fd")
    kind = f" {ATTENDED}" if attended(service, dialect) else ""
    lines = [
        "#!/bin/sh",
        f"# {service.name} under {dialect.suite}. Written by Ansible (holdfast.supervision); the service itself is in",
        f"# {service.path}.",
        "exec </dev/null 2>&1",
        "# What the root process has for itself.",
        f"unset {_DROPPED}",
        "{ ulimit -S -n 1024; echo 0 >/proc/self/oom_score_adj; } 2>/dev/null",
        *(["turn=${1-}"] if service.meta.get("needs") else []),
        *_predecessor(service, dialect),
        ": >failed",
        ": >asked",
        *_needs(service, dialect),
    ]
    if number is not None and not dialect.notification:
        lines += [f"# Ready when there is a line in this file; {dialect.suite} reads no notifications."]
        lines += [f"exec {number}>ready"]
    lines += [
        "# Of two that looked before either was noted as started, one sees the other here.",
        "while",
        f'    echo "$$ $mine $boot {service.identity}{kind}" >started || exit 111',
        "    outlive starting",
        "    read -r pid _ <started",
        '    [ -n "$waited" ] || [ "$pid" != $$ ]',
        "do",
        "    outlive_all",
        "done",
        ": >starting",
    ]
    session = dialect.session + " " if dialect.session else ""
    if stays(service, dialect):
        lines += [f"exec {session}./attend"]
    elif attended(service, dialect):
        after = attending.NOTHING if dialect.native_finish else attending.BECOME
        arguments = f"attend {word(service.path)} . {after}"
        lines += [
            'if [ -n "${HOLDFAST_RUNTIME-}" ]; then',
            f'    exec {session}"$HOLDFAST_PYTHON" -I -S "$HOLDFAST_RUNTIME" {arguments}',
            "fi",
            f"exec {session}holdfast {arguments}",
        ]
    else:
        lines += [f"cd {word(service.path)} || exit 111", f"exec {session}./run"]
    return "\n".join(lines) + "\n"


def attended(service: Portable, dialect: Dialect) -> bool:
    """Tell whether a service has a parent of ours, which has what the suite has not."""
    if attending.asked(service.meta):
        return True
    if dialect.native_finish or stays(service, dialect):
        return False
    meta = service.meta
    return (
        "finish" in service.entries
        or (meta.get("restart") or "always") != "always"
        or (meta.get("backoff") or BACKOFF) != BACKOFF
        or bool((meta.get("failure_limit") or {}).get("deaths"))
        or (meta.get("stop_signal") or "TERM") != "TERM"
        or meta.get("state") == "once"
    )


def stays(service: Portable, dialect: Dialect) -> bool:
    """Tell whether a oneshot stays down after a failure by a small script of ours, since the suite has no `finish`."""
    return (
        not dialect.native_finish and service.meta.get("type") == "oneshot" and service.meta.get("restart") == "never"
    )


def stop_signal(service: Portable, dialect: Dialect) -> str:
    """Give the signal that the suite sends to have a service end. A parent of ours sends the service its own."""
    return "TERM" if attended(service, dialect) else str(service.meta.get("stop_signal") or "TERM")


def stop_timeout(service: Portable, dialect: Dialect) -> float:
    """Give the seconds from that signal to KILL, 0 for no end."""
    if attended(service, dialect):
        return attending.stop_timeout(service.meta, finish=not dialect.native_finish)
    return float(service.meta.get("stop_timeout") or 0.0)


def attend(service: Portable, dialect: Dialect) -> str:
    """Give the script `attend`, which does what `finish` does elsewhere for a service that is not started again."""
    lines = [
        "#!/bin/sh",
        f"# {service.name} under {dialect.suite}, which would start it again. Written by Ansible (holdfast.supervision).",
        "asked='' child=''",
        'trap \'asked=yes; [ -z "$child" ] || kill -s TERM "$child" 2>/dev/null\' TERM',
        f"( cd {word(service.path)} && exec ./run ) &",
        "child=$!",
        "# Told before there was a child to be told.",
        '[ -z "$asked" ] || kill -s TERM "$child" 2>/dev/null',
        "while :; do",
        '    wait "$child"',
        "    code=$? signal=0",
        "    # A signal ends a wait; the child may still be there.",
        '    kill -0 "$child" 2>/dev/null || break',
        "done",
        '[ "$code" -le 128 ] || signal=$((code - 128)) code=-1',
        'echo "$code $signal $$" >ended',
        "[ -s asked ] && exit 0",
        "# Field 4 of proc_pid_stat(5), here the second: another supervisor than ours is told nothing.",
        'read -r stat <"/proc/$$/stat"; stat=${stat##*) }; set -- $stat; [ "$2" = "$PPID" ] || exit 0',
        "# Answered by TERM, once it has been read.",
        "trap 'exit 0' TERM",
        "printf d >supervise/control",
        "sleep 10 &",
        "wait $!",
    ]
    return "\n".join(lines) + "\n"


def _needs(service: Portable, dialect: Dialect) -> list[str]:
    """Give the lines that wait for what the service needs."""
    needs = active.words(service.meta)
    if not needs:
        return []
    scan = service.path.rpartition("/")[0]
    names = " ".join(word(str(name)) for name in needs)
    return [
        'if [ "$turn" != go ]; then',
        f'    echo "$$" {names} >waiting',
        f"    set -- await {dialect.backend} {word(scan)} {names}",
        *(f"    {line}" for line in WITH_RUNTIME),
        "    # The service may be another one by now.",
        "    exec ./run go",
        "fi",
        ": >waiting",
    ]


#: Lines of sh that run our own program with "$@", wherever it is; what has been installed as a rule.
WITH_RUNTIME = (
    'if [ -n "${HOLDFAST_RUNTIME-}" ]; then',
    '    "$HOLDFAST_PYTHON" -I -S "$HOLDFAST_RUNTIME" "$@"',
    "else",
    '    holdfast "$@"',
    "fi || exit 111",
)


#: Lines of sh with a function: whether a process that is noted, and is not this one, is still there.
_LIVES = (
    "read -r boot </proc/sys/kernel/random/boot_id",
    "# It is that process if it began at the same time: field 22 of proc_pid_stat(5), here the 20th.",
    "lives() {",
    '    [ "$before" = "$boot" ] && [ "$pid" -ne $$ ] && read -r stat 2>/dev/null <"/proc/$pid/stat" || return 1',
    "    stat=${stat##*) }; set -- $stat",
    '    [ "${20}" = "$since" ] && [ "$1" != Z ]',
    "}",
)


def _predecessor(service: Portable, dialect: Dialect) -> list[str]:
    """Give the lines that end a process that a killed supervisor has left behind, so that there never are two."""
    whom = '"-$pid"' if service.meta.get("kill") == "group" else '"$pid"'
    timeout = stop_timeout(service, dialect)
    late = f'[ "$tries" -ge {max(round(timeout * 10), 1)} ] && kill -s KILL -- {whom}' if timeout else ":"
    return [
        *_LIVES,
        'read -r stat <"/proc/$$/stat"; stat=${stat##*) }; set -- $stat; mine=${20}',
        "left() {",
        "    lives || return 1",
        "    # Somebody who began later is the one to come through, even if he did not know of us when he looked.",
        '    [ "$since" -le "$mine" ] || exit 111',
        "}",
        "outlive() {",
        "    waited=''",
        "    for file; do",
        '        [ -e "$file" ] || continue',
        "        while read -r pid since before _; do",
        "            tries=0",
        "            while left; do",
        f'                [ "$tries" -eq 0 ] && kill -s {stop_signal(service, dialect)} -- {whom}',
        f"                waited=yes tries=$((tries + 1)); {late}",
        "                sleep 0.1",
        "            done 2>/dev/null",
        '        done <"$file"',
        "    done",
        "}",
        "outlive_all() {",
        "    waited=yes",
        '    while [ -n "$waited" ]; do',
        "        # Noted before anything is waited for: a start that is orphaned here is found by the next one. And noted",
        "        # again after that: who came through meanwhile has forgotten it.",
        '        echo "$$ $mine $boot" >>starting || exit 111',
        "        outlive started starting",
        "    done",
        "}",
        "outlive_all",
    ]


def finish(service: Portable, dialect: Dialect) -> str:
    """Give the script `finish`: it notes how the service ended, ends what is left of it, and decides what comes next."""
    meta = service.meta
    restart = attending.restart(meta)
    # After each run, and not of the parent.
    finishes = "finish" in service.entries and meta.get("type") != "periodic"
    after = [] if restart == "never" else _limit(meta) + _pause(meta)
    lines = [
        "#!/bin/sh",
        f"# {service.name} under {dialect.suite}: after each end of the service. Written by Ansible (holdfast.supervision).",
        "exec </dev/null 2>&1",
        "code=$1 signal=$(($2 & 127)) pid='' since='' before=''",
        *_LIVES,
    ]
    if dialect.signalled != -1:
        lines += [f'[ "$code" -eq {dialect.signalled} ] && code=-1']
    lines += ['[ "$code" -eq -1 ] || signal=0', "read -r pid since before _ <started"]
    if dialect.finish == ANSWERED:
        lines += ["# A command to the suite, which takes this for the service; it is obeyed at the end.", "trap : TERM"]
    if meta.get("kill") == "group" and not attended(service, dialect):
        stop = meta.get("stop_signal") or "TERM"
        lines += [
            "# What is left of its process group ends as it did.",
            f'if [ -n "$pid" ]; then [ "$signal" -eq 9 ] && end=KILL || end={stop}',
            '    kill -s "$end" -- "-$pid" 2>/dev/null',
            "fi",
        ]
    lines += [
        "# A start that ended while it waited for a former process to end: the next one has to find that one, too.",
        "if lives; then pid='' since=''; else : >started; fi",
        'echo "$code $signal $pid" >ended',
    ]
    if finishes:
        lines += [f'( cd {word(service.path)} && {_limited(meta)}./finish "$code" "$signal" ); finished=$?']
    lines += [
        "stay_down() {",
        '    echo "$1" >failed',
        "    : >deaths; : >pause",
        *_STAY_DOWN[dialect.finish],
        "}",
        "[ -s asked ] && exit 0",
        *dialect.asked,
        '[ "$code" -eq 100 ] && stay_down "run gave up: exit code 100"',
    ]
    if finishes:
        lines += ['[ "$finished" -eq 125 ] && stay_down "finish gave up"']
    if restart == "on_failure":
        lines += ['[ "$code" -eq 0 ] && stay_down ""']
    elif restart == "never":
        lines += ['stay_down ""']
    return "\n".join(lines + after) + "\n"


_STAY_DOWN = {
    EXIT: ("    exit 125",),
    BYTE: ("    printf d >supervise/control; exit 0",),
    # Answered by TERM, once it has been read.
    ANSWERED: ("    trap 'exit 0' TERM", "    printf d >supervise/control", "    sleep 10 &", "    wait $!; exit 0"),
}


def _limited(meta: dict[str, Any]) -> str:
    timeout = float(meta.get("finish_timeout") or 0.0)
    return f"timeout -s KILL {timeout:g} " if timeout else ""


def _limit(meta: dict[str, Any]) -> list[str]:
    limit = meta.get("failure_limit") or {}
    deaths = int(limit.get("deaths") or 0)
    if not deaths:
        return []
    within = float(limit.get("within") or 60.0)
    return [
        "# Deaths within the time, as uptimes: one that is in the future was before the last boot.",
        "read -r now _ </proc/uptime; now=${now%.*}; count=1 kept=$now recent=''",
        "[ -e deaths ] && read -r recent <deaths",
        "for at in $recent; do",
        f'    [ "$at" -le "$now" ] && [ "$at" -gt $((now - {max(round(within), 1)})) ] || continue',
        '    count=$((count + 1)) kept="$kept $at"',
        "done",
        'echo "$kept" >deaths',
        '[ "$code" -eq -1 ] && last="signal $signal" || last="exit code $code"',
        f'[ "$count" -ge {deaths} ] && stay_down "died $count times within {within:g} s, last with $last"',
    ]


def _pause(meta: dict[str, Any]) -> list[str]:
    backoff = meta.get("backoff") or BACKOFF
    if backoff == BACKOFF:
        return ["exit 0"]
    first, longest = (max(round(backoff[key]), 1) for key in ("initial", "maximum"))
    return [
        "# The pause doubles; one second of it is the suite's own.",
        "read -r now _ </proc/uptime; pause=''",
        "[ -e pause ] && read -r pause <pause",
        '[ -n "$since" ] && [ $((${now%.*}${now#*.} - since)) -ge 100 ] && pause=""',
        f"pause=$((${{pause:-{first}}}))",
        f'[ "$pause" -gt {longest} ] && pause={longest}',
        'echo "$((pause * 2))" >pause',
        '[ "$pause" -gt 1 ] || exit 0',
        'exec sleep "$((pause - 1))"',
    ]


def check(service: Portable) -> str:
    """Give the script `check`, for clients of the suite."""
    return f"#!/bin/sh\ncd {word(service.path)} && exec ./check\n"


def log_run(service: Portable, owner: tuple[int, int] | None) -> str:
    """Give `log/run`: the logger runs as the user *owner* (uid, gid), None for the user of the suite."""
    become = "exec ./logger"
    if owner is not None:
        become = f"exec setpriv --reuid={owner[0]} --regid={owner[1]} --clear-groups ./logger"
    return f"#!/bin/sh\n# The log of {service.name}. Written by Ansible (holdfast.supervision).\nexec 2>&1\n{become}\n"


def logger(service: Portable, command: str, config: str = "") -> str:
    """Give `log/logger`, which becomes *command* in the directory of the log. config: path of what is `config` there."""
    log = service.meta.get("log") or {}
    lines = ["#!/bin/sh", "umask 027"]
    if log.get("to") == "directory":
        folder = word(str(log["directory"]))
        lines += [f"mkdir -p {folder} && cd {folder} || exit 111"]
    if config:
        lines += [f"ln -sf {word(config)} config || exit 111"]
    return "\n".join([*lines, f"exec {command}"]) + "\n"
