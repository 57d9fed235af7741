# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Test hosts made of namespaces: a handful of Linux machines in a second, without a container engine.

Needs root. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import os
import sys
import typing as t
from pathlib import Path

sys.path.insert(0, os.fspath(Path(__file__).resolve().parent))

from testhosts.cgroup import hierarchy
from testhosts.emulated import boot
from testhosts.host import INITS
from testhosts.inventory import inventory
from testhosts.lab import Lab, labs_directory
from testhosts.system import HostsError, require_namespaces, require_root
from testhosts.tree import root_tree

if t.TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, or 1 after a message on standard error."""
    options = _parser().parse_args(arguments)
    try:
        require_root()
        if options.verb == "check":
            require_namespaces()
            hierarchy()
        elif options.verb == "labs":
            print(*sorted(path.name for path in labs_directory().glob("*")), sep="\n")
        elif options.verb == "tree":
            print(root_tree())
        elif options.verb == "boot":
            print(boot(options.folder, timeout=options.timeout).said, end="")
        else:
            _VERBS[options.verb](Lab(options.lab), options)
    except (HostsError, OSError) as error:
        print(f"hosts: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _up(lab: Lab, options: argparse.Namespace) -> None:
    lab.up(options.names, options.init)


def _down(lab: Lab, options: argparse.Namespace) -> None:
    lab.down(options.names)


def _list(lab: Lab, options: argparse.Namespace) -> None:
    for host in lab.hosts():
        print(f"{host.name:<20} {host.state:<7} {host.address:<15} {host.init}")


def _exec(lab: Lab, options: argparse.Namespace) -> None:
    [host] = lab.existing([options.name])
    host.become(options.command)


def _pid(lab: Lab, options: argparse.Namespace) -> None:
    [host] = lab.existing([options.name])
    print(host.pid() or "")


def _share(lab: Lab, options: argparse.Namespace) -> None:
    [host] = lab.existing([options.name])
    host.share(Path(options.path).resolve())


def _ssh(lab: Lab, options: argparse.Namespace) -> None:
    lab.existing([options.name])
    ssh = os.fspath(lab.tool("ssh"))
    os.execv(ssh, [ssh, options.name, *options.command])


def _lab(lab: Lab, options: argparse.Namespace) -> None:
    lab.become(options.command)


def _cut(lab: Lab, options: argparse.Namespace) -> None:
    for host in lab.existing(options.names):
        host.plug(plugged=False)


def _heal(lab: Lab, options: argparse.Namespace) -> None:
    for host in lab.existing(options.names):
        host.plug(plugged=True)


def _freeze(lab: Lab, options: argparse.Namespace) -> None:
    for host in lab.existing(options.names):
        host.freeze(frozen=True)


def _thaw(lab: Lab, options: argparse.Namespace) -> None:
    for host in lab.existing(options.names):
        host.freeze(frozen=False)


def _power_off(lab: Lab, options: argparse.Namespace) -> None:
    lab.power_off(options.names)


def _power_on(lab: Lab, options: argparse.Namespace) -> None:
    lab.power_on(options.names)


def _inventory(lab: Lab, options: argparse.Namespace) -> None:
    print(inventory(lab, options.user), end="")


_VERBS = {
    "up": _up,
    "down": _down,
    "list": _list,
    "exec": _exec,
    "pid": _pid,
    "share": _share,
    "ssh": _ssh,
    "lab": _lab,
    "cut": _cut,
    "heal": _heal,
    "freeze": _freeze,
    "thaw": _thaw,
    "power-off": _power_off,
    "power-on": _power_on,
    "inventory": _inventory,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hosts.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lab", default="lab", help="name of the lab; several may exist at once (default: lab)")
    verbs = parser.add_subparsers(dest="verb", required=True)

    up = verbs.add_parser("up", help="make hosts and boot them; returns when they answer")
    up.add_argument("names", nargs="+", metavar="NAME")
    up.add_argument("--init", choices=INITS, default="systemd", help="what is process 1 (default: systemd)")
    down = verbs.add_parser("down", help="remove these hosts, or the whole lab")
    down.add_argument("names", nargs="*", metavar="NAME")
    verbs.add_parser("list", help="show the hosts of the lab")
    machine = verbs.add_parser(
        "boot", help="boot an emulated machine with FOLDER as /payload; shows what its `main` says"
    )
    machine.add_argument("folder", type=Path, metavar="FOLDER")
    machine.add_argument("--timeout", type=float, default=120, help="seconds until it is ended (default: 120)")
    for verb, text in (
        ("exec", "run a command inside a host, as root"),
        ("ssh", "run a command, or a shell, by ssh"),
    ):
        inside = verbs.add_parser(verb, help=text, usage=f"hosts.py {verb} NAME -- COMMAND [ARGUMENT…]")
        inside.add_argument("name", metavar="NAME")
        inside.add_argument("command", nargs="+" if verb == "exec" else "*", metavar="COMMAND")
    number = verbs.add_parser("pid", help="print the machine's number of process 1 of a host")
    number.add_argument("name", metavar="NAME")
    share = verbs.add_parser("share", help="let a host see a directory of this machine, at the same path")
    share.add_argument("name", metavar="NAME")
    share.add_argument("path", metavar="DIRECTORY")
    lab = verbs.add_parser("lab", help="run a command in the network of the lab", usage="hosts.py lab -- COMMAND …")
    lab.add_argument("command", nargs="+", metavar="COMMAND")
    for verb, text in (
        ("cut", "cut hosts off the network"),
        ("heal", "undo cut"),
        ("freeze", "stop all processes of hosts"),
        ("thaw", "undo freeze"),
        ("power-off", "switch hosts off without warning, as a power cut does"),
        ("power-on", "boot hosts again with the disks as they were left"),
    ):
        several = verbs.add_parser(verb, help=text)
        several.add_argument("names", nargs="+", metavar="NAME")
    shown = verbs.add_parser("inventory", help="print an Ansible inventory of the lab")
    shown.add_argument("--user", default="root", help="root, admin (sudo) or ordinary (default: root)")
    verbs.add_parser("check", help="end with 0 if test hosts are possible on this machine, else say why not")
    verbs.add_parser("labs", help="show the names of all labs")
    verbs.add_parser("tree", help="build the root tree if there is none, and print its path")
    return parser


if __name__ == "__main__":
    sys.exit(main())
