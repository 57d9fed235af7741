# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service definition: every key, once.

This table is the only place that knows the keys. Validation, defaults, the documentation page and the advice for
misspelt keys all come from it. PRIVATE to the collection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SECONDS = "seconds, or text such as 500ms, 10s, 5m, 12h, 1d"
BYTES = "bytes, or text such as 500k, 64M, 2G (powers of 1024)"


# What a user may write for each kind, in words.
KINDS = {
    "account": "name or number",
    "accounts": "list of names or numbers",
    "argv": "list: program, arguments",
    "boolean": "true or false",
    "choice": "choice",
    "driver": "name of a lease driver",
    "duration": "time, such as 10s",
    "environment": "dictionary: NAME, text",
    "integer": "whole number",
    "io_max": "dictionary: block device, limits",
    "limits": "dictionary: limit, value or [soft, hard]",
    "line": "text, one line",
    "log": "dictionary, destination or false",
    "mode": "octal text",
    "needs": "list of names of services, or dictionary: name, ready or active",
    "parameters": "dictionary: name, text, number or list",
    "path": "absolute path",
    "leased": "list of resources",
    "percentage": "text such as 50%",
    "secret_environment": "dictionary: NAME, text",
    "section": "dictionary",
    "sections": "list of dictionaries or paths",
    "service": "name of a service",
    "signal": "name of a signal",
    "size": "size, such as 64M",
    "terminal": "name of a terminal",
    "text": "text",
    "umask": "octal text",
}


@dataclass(frozen=True)
class Key:
    """One key of a definition.

    kind names the reader in validate.py that turns what the user wrote into the canonical value. minimum and maximum
    are inclusive; above is an exclusive lower bound. A section (kind section or sections) has keys of its own.
    """

    name: str
    kind: str
    help: str
    default: Any = None
    example: Any = None
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    required: bool = False
    shorthand: str = ""
    keys: tuple[Key, ...] = ()


LIMITS = (
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
)

#: What a service that is needed has to be: ready, as every need asks for, or active, which only a leased one can be.
READY, ACTIVE = NEEDS = ("ready", "active")

SIGNALS = {
    "ABRT": 6,
    "ALRM": 14,
    "CONT": 18,
    "HUP": 1,
    "INT": 2,
    "KILL": 9,
    "PIPE": 13,
    "PWR": 30,
    "QUIT": 3,
    "STOP": 19,
    "TERM": 15,
    "TSTP": 20,
    "TTIN": 21,
    "TTOU": 22,
    "URG": 23,
    "USR1": 10,
    "USR2": 12,
    "WINCH": 28,
}

#: What the guard of a leased service passes on to it; TERM is an ordered stop.
FORWARDED = ("ALRM", "HUP", "INT", "QUIT", "USR1", "USR2", "WINCH")

_READINESS = (
    Key(
        "notification_fd",
        "integer",
        "The service writes a newline to this file descriptor when it is ready. Not together with check.",
        minimum=3,
        maximum=1023,
        example=3,
    ),
    Key(
        "check",
        "argv",
        "The service is ready when this command exits with 0. It runs as the service does: same user, same "
        "environment, same directory.",
        example=["/usr/bin/curl", "-fsS", "http://127.0.0.1:8080/"],
    ),
    Key("interval", "duration", "Pause between two runs of check.", default=0.5, above=0, example="1s"),
    Key(
        "grace",
        "duration",
        "Without notification_fd and check: the service counts as ready after it has been up for so long.",
        default=0.5,
        minimum=0,
        example="2s",
    ),
    Key(
        "timeout",
        "duration",
        "How long converging waits for the service to be ready before the task fails. The command of a oneshot that takes "
        "longer is ended, and has failed.",
        default=30.0,
        above=0,
        example="2m",
    ),
)

_HEALTH = (
    Key(
        "check",
        "argv",
        "The service is alive when this command exits with 0. It runs as the service does.",
        example=["/usr/local/bin/billing-health"],
    ),
    Key(
        "heartbeat_fd",
        "integer",
        "The service writes something, whatever it is, to this file descriptor at least once an interval. Not together "
        "with check.",
        minimum=3,
        maximum=1023,
        example=4,
    ),
    Key(
        "interval",
        "duration",
        "Pause between two checks, or the longest time without a heartbeat.",
        default=10.0,
        above=0,
        example="30s",
    ),
    Key("timeout", "duration", "A check that takes longer has failed.", default=5.0, above=0, example="2s"),
    Key(
        "failures",
        "integer",
        "So many failed checks, or intervals without a heartbeat, in a row restart the service.",
        default=3,
        minimum=1,
        example=5,
    ),
)

_LEASE = (
    Key(
        "resources",
        "leased",
        "What is held while anything of the service lives: names, and disks as disk:PATH, with :shared behind those that others may "
        "hold as shared too, or :readonly behind those that are only read. Or {type: name, name: NAME, mode: MODE} and "
        "{type: disk, path: PATH, mode: MODE}. Default: the name of the service.",
        default=[],
        example=["billing-database", "rates:shared", {"type": "disk", "path": "/dev/vg0/billing"}],
    ),
    Key(
        "driver",
        "driver",
        "Who keeps the leases: file for processes of one host, or on NFS for several, etcd or sanlock for several hosts, or the driver of another "
        "collection, as namespace.collection.driver, see lease-drivers.md. The variable leases_driver says it for all services.",
        default="file",
        choices=("file", "etcd", "sanlock"),
        example="etcd",
    ),
    Key(
        "ttl",
        "duration",
        "With etcd, and with file on NFS: a lease that is not renewed ends after this time, and with it the service; a host that "
        "died is followed by the next one then. The variable leases_ttl says it for all services. Default: that of the driver; "
        "10s, on NFS the lease time of the server, which is the most there.",
        minimum=2,
        maximum=3600,
        example="15s",
    ),
    Key(
        "parameters",
        "parameters",
        "What else the driver is told, see leases.md. Secrets are in files, which this names. The variable "
        "leases_parameters says it for all services that do not name a driver of their own.",
        default={},
        example={"endpoints": ["https://etcd1.example.com:2379"], "ca_file": "/etc/holdfast/etcd/ca.pem"},
    ),
    Key(
        "directory",
        "path",
        "With file: directory of the locks; the same for all who are to exclude each other. On a file system of this host; with "
        "the parameter scope: hosts on NFS, see leases-nfs.md.",
        default="/run/holdfast/leases",
        example="/run/leases",
    ),
    Key(
        "mode",
        "choice",
        "guard: a process beside the service holds the lease, and sees to everything. exec, with file and sanlock: what gets the "
        "lease becomes the service, and no process of ours stays; what is lost by that is in leases.md. It needs safety standard.",
        default="guard",
        choices=("guard", "exec"),
        example="guard",
    ),
    Key(
        "keep",
        "duration",
        "After the service has ended by itself, or is restarted, only this host is granted its leases for so long: they stay "
        "where they are if it comes back in time. Not after a stop, a hand-over or failed health checks. Shared ones are not "
        "kept.",
        above=0,
        maximum=86400,
        example="10s",
    ),
    Key(
        "on_lost",
        "choice",
        "What is done when the lease could not be renewed in time: kill asks the service to end, and kills it before the lease "
        "ends. hook runs the hooks of lease_lost first; it needs hooks. pause stops all its processes instead; they go on if the "
        "store says that nobody else had the lease meanwhile, and are killed otherwise.",
        default="kill",
        choices=("kill", "hook", "pause"),
        example="pause",
    ),
    Key(
        "pause_timeout",
        "duration",
        "With on_lost pause: the service is killed after having been paused for so long beyond the end of its lease.",
        default=300.0,
        above=0,
        maximum=86400,
        example="1h",
    ),
    Key(
        "containment",
        "choice",
        "How the service's processes are kept from outliving the guard. process_group does not reach those that leave it (setsid).",
        default="pid_namespace",
        choices=("pid_namespace", "process_group"),
        example="pid_namespace",
    ),
    Key(
        "safety",
        "choice",
        "With strict the service is not started while a known hole in the promise is open.",
        default="strict",
        choices=("strict", "standard"),
        example="standard",
    ),
)

_HOOKS = (
    Key(
        "directory",
        "path",
        "Directory with a folder for each point. Nobody but root may write to it, or to what leads to it.",
        default="/etc/holdfast/hooks.d",
        example="/etc/billing/hooks.d",
    ),
    Key(
        "timeout",
        "duration",
        "The hooks of one point have so long together; one that runs then is killed and has failed.",
        default=30.0,
        above=0,
        example="2m",
    ),
)

_LOG = (
    Key(
        "to",
        "choice",
        "Where standard output and standard error go.",
        default="directory",
        choices=("directory", "none", "syslog", "journald"),
        example="journald",
    ),
    Key(
        "directory",
        "path",
        "Directory of the log files. Default: a directory of the service's name in supervisor_log_directory.",
        example="/srv/billing/log",
    ),
    Key("size", "size", "The current file is rotated at this size.", default=1000000, minimum=4096, example="1M"),
    Key("count", "integer", "So many rotated files are kept.", default=10, minimum=1, maximum=100000, example=30),
    Key("age", "duration", "The current file is rotated when it is older than this.", above=0, example="1d"),
    Key("keep", "duration", "Rotated files older than this are deleted.", above=0, example="90d"),
    Key(
        "format",
        "choice",
        "Time stamp in front of each line. Default: iso, and tai64n where the backend's logger has nothing else.",
        choices=("iso", "tai64n", "none"),
        example="tai64n",
    ),
)

_RUNTIME_DIRECTORY = (
    Key("path", "path", "Absolute path.", required=True, example="/run/billing"),
    Key("mode", "mode", "Permissions, as octal text.", default=0o755, example="0750"),
    Key("user", "account", "Owner. Default: the user of the service.", example="billing"),
    Key(
        "group",
        "account",
        "Group. Default: the group of the service, else the login group of the owner.",
        example="www-data",
    ),
)

_IO_MAX = (
    Key("rbps", "size", "Bytes read in a second.", minimum=1, example="10M"),
    Key("wbps", "size", "Bytes written in a second.", minimum=1, example="10M"),
    Key("riops", "integer", "Reads in a second.", minimum=1, example=500),
    Key("wiops", "integer", "Writes in a second.", minimum=1, example=500),
)

_RESOURCES = (
    Key("memory_max", "size", "Most memory that the service and its descendants may use.", minimum=1, example="512M"),
    Key(
        "cpu_weight",
        "integer",
        "Share of the processors when they are scarce; others have 100.",
        minimum=1,
        maximum=10000,
        example=50,
    ),
    Key("cpu_max", "percentage", "Most processor time; 100% is one processor.", example="150%"),
    Key("io_max", "io_max", "Limits per block device.", keys=_IO_MAX, example={"/dev/sda": {"wbps": "10M"}}),
    Key("pids_max", "integer", "Most processes and threads.", minimum=1, example=200),
)

KEYS = (
    Key(
        "description",
        "text",
        "What the service is, for people. Becomes the heading of the run script.",
        default="",
        example="Sends the bills",
    ),
    Key(
        "command",
        "argv",
        "The program and its arguments. It has to stay in the foreground, but for a oneshot, which runs to its end. Not a "
        "shell line: nothing is expanded. Required, unless template is given; a getty has agetty as its default.",
        example=["/usr/bin/python3", "/srv/billing/worker.py"],
    ),
    Key(
        "user", "account", "The user that the service runs as. Default: the user of the supervisor.", example="billing"
    ),
    Key("group", "account", "The group that the service runs as. Default: the login group of user.", example="billing"),
    Key(
        "groups",
        "accounts",
        "Supplementary groups. Default: those that user has; an empty list means none.",
        example=["ssl-cert", "adm"],
    ),
    Key(
        "environment",
        "environment",
        "Environment variables, added to what the supervisor passes on. Integers become text.",
        default={},
        example={"PORT": "8080"},
    ),
    Key(
        "secret_environment",
        "secret_environment",
        "Environment variables with secret values. They are kept in files that only the supervisor's user "
        "can read, and are shown nowhere.",
        default={},
        example={"DB_PASSWORD": "{{ vault_db_password }}"},
    ),
    Key("directory", "path", "Working directory. Default: the service directory.", example="/srv/billing"),
    Key("umask", "umask", "File mode creation mask, as octal text. Default: that of the supervisor.", example="0027"),
    Key(
        "nice",
        "integer",
        "Scheduling priority: -20 is the most, 19 the least favourable.",
        minimum=-20,
        maximum=19,
        example=5,
    ),
    Key(
        "limits",
        "limits",
        "Resource limits, as of prlimit(1): one value for both limits, or [soft, hard]; 'unlimited' is a value too.",
        default={},
        example={"nofile": [1024, 65536], "core": 0},
    ),
    Key(
        "oom_score_adjust",
        "integer",
        "How readily the kernel kills the service when memory runs out; -1000 is never.",
        minimum=-1000,
        maximum=1000,
        example=500,
    ),
    Key(
        "resources",
        "section",
        "Limits of the service's control group (cgroup v2), for it and all that it starts. Refused where they can't be "
        "set. Changed limits are given to the running process.",
        keys=_RESOURCES,
        example={"memory_max": "512M", "pids_max": 200},
    ),
    Key(
        "security_context",
        "section",
        "Label that the service runs under. Refused on hosts without that security module.",
        keys=(
            Key("selinux", "line", "An SELinux context.", example="system_u:system_r:billing_t:s0"),
            Key("apparmor", "line", "The name of an AppArmor profile.", example="billing"),
        ),
        example={"apparmor": "billing"},
    ),
    Key(
        "state",
        "choice",
        "What the service shall be: running for good, at rest, started one time, or not there at all.",
        default="started",
        choices=("started", "stopped", "once", "absent"),
        example="stopped",
    ),
    Key(
        "type",
        "choice",
        "A service that stays up; a command that runs to its end once, and counts as up until it is stopped; a login on a "
        "terminal; a job that is started again and again after interval; or a program that can only go to the background: "
        "the process that it leaves there is the service. forking and getty need a supervisor that runs as root.",
        default="longrun",
        choices=("longrun", "oneshot", "getty", "periodic", "forking"),
        example="periodic",
    ),
    Key(
        "stop_command",
        "argv",
        "What undoes the command of a oneshot. It runs when the service is stopped, if the command had succeeded, as "
        "the service does; what a changed definition had before is what undoes it.",
        example=["/sbin/ip", "link", "delete", "br0"],
    ),
    Key(
        "tty",
        "terminal",
        "Terminal of a getty, with or without /dev/ in front.",
        example="ttyS0",
    ),
    Key(
        "pid_file",
        "path",
        "File in which a forking service writes the number of the process that it leaves in the background. It is removed "
        "before each start, as the service's user.",
        example="/run/billing/billing.pid",
    ),
    Key(
        "interval", "duration", "Time between two starts of a periodic service, and only there.", above=0, example="15m"
    ),
    Key(
        "restart",
        "choice",
        "Whether the service is started again after it has ended: always, unless it exited with 0, or never. The default of "
        "a oneshot without a lease is never.",
        default="always",
        choices=("always", "on_failure", "never"),
        example="on_failure",
    ),
    Key(
        "backoff",
        "section",
        "Pause before a service is started again that ended soon after its start. The pause doubles from "
        "initial to maximum; a service that had been up starts at once.",
        default={},
        keys=(
            Key("initial", "duration", "The first pause.", default=1.0, minimum=0, example="500ms"),
            Key("maximum", "duration", "The longest pause.", default=30.0, minimum=0, example="5m"),
        ),
        example={"initial": "500ms", "maximum": "5m"},
    ),
    Key(
        "failure_limit",
        "section",
        "When to give up: after so many deaths within a time the service stays down and is marked as failed.",
        default={},
        keys=(
            Key("deaths", "integer", "Number of deaths; 0 means never give up.", default=0, minimum=0, example=5),
            Key("within", "duration", "The time in which they are counted.", default=60.0, above=0, example="5m"),
        ),
        example={"deaths": 5, "within": "5m"},
    ),
    Key("stop_signal", "signal", "Signal that asks the service to end.", default="TERM", example="INT"),
    Key(
        "stop_timeout",
        "duration",
        "After so long a service that was asked to end is killed; 0 means never.",
        default=10.0,
        minimum=0,
        example="1m",
    ),
    Key(
        "finish",
        "argv",
        "Command that runs after each end of the service, as the service does. HOLDFAST_EXIT_CODE (-1 if a "
        "signal ended it) and HOLDFAST_EXIT_SIGNAL tell how it ended.",
        example=["/usr/local/bin/billing-cleanup"],
    ),
    Key(
        "finish_timeout",
        "duration",
        "After so long finish is killed; 0 means never.",
        default=5.0,
        minimum=0,
        example="30s",
    ),
    Key(
        "kill",
        "choice",
        "Whom stopping reaches: the process, its process group, or all its descendants.",
        default="group",
        choices=("process", "group", "tree"),
        example="process",
    ),
    Key(
        "reload_signal",
        "signal",
        "Signal that makes the service read its configuration again.",
        default="HUP",
        example="USR1",
    ),
    Key(
        "on_change",
        "choice",
        "What happens to the running service when its definition has changed. With a lease, hooks or type forking, reload is restart for what "
        "the guard reads once, see leases.md.",
        default="restart",
        choices=("restart", "reload", "nothing"),
        example="reload",
    ),
    Key(
        "readiness",
        "section",
        "How to tell that the service is ready.",
        default={},
        keys=_READINESS,
        example={"notification_fd": 3},
    ),
    Key(
        "health",
        "section",
        "How to tell that the running service is still alive. One that is not is restarted.",
        keys=_HEALTH,
        example={"check": ["/usr/local/bin/billing-health"], "interval": "30s"},
    ),
    Key(
        "hooks",
        "section",
        "Have the host's hooks run around the start and the stop of the service; {} means those of the usual directory. "
        "See hooks.md.",
        keys=_HOOKS,
        example={},
    ),
    Key(
        "lease",
        "section",
        "What the service has to hold before it is started, so that it runs at most once; {} means its own name. See "
        "leases.md.",
        keys=_LEASE,
        example={"resources": ["billing-database"]},
    ),
    Key(
        "needs",
        "needs",
        "Services that have to be ready before this one is started. A leased one is ready while it stands by, too; with "
        "active it has to hold its lease, and to be ready behind it.",
        default={},
        example=["db", {"billing": "active"}],
    ),
    Key(
        "runtime_directories",
        "sections",
        "Directories that are made before each start, for instance below /run. A path alone will do.",
        default=[],
        keys=_RUNTIME_DIRECTORY,
        shorthand="path",
        example=["/run/billing", {"path": "/run/billing-shared", "mode": "0770", "group": "www-data"}],
    ),
    Key(
        "log",
        "log",
        "What becomes of the output. A destination alone will do; false is the same as none.",
        default={},
        keys=_LOG,
        shorthand="to",
        example={"size": "1M", "count": 30, "keep": "90d"},
    ),
    Key(
        "template",
        "line",
        "A Jinja2 template of yours for the run script, found as those of ansible.builtin.template are. It "
        "gets the variables of the task, and name and service (this definition, with defaults).",
        example="billing-run.j2",
    ),
    Key(
        "was",
        "service",
        "The name that the service had before. If there is a service of that name on the host, it is stopped and becomes "
        "this one, with its logs.",
        example="invoices",
    ),
    Key(
        "command_check",
        "boolean",
        "Whether the host must have the commands before anything is changed. Say false for applications that "
        "are deployed later.",
        default=True,
        example=False,
    ),
)

BY_NAME = {key.name: key for key in KEYS}
