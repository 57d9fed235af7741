# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line of `holdfast lease`. PRIVATE to the collection."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Callable


def add_lease(lease: ArgumentParser, common: ArgumentParser, seconds: Callable[[str], float]) -> None:
    """Add the verbs below `lease`."""
    verbs = lease.add_subparsers(dest="what", metavar="VERB", parser_class=type(common), required=True)

    def add(name: str, summary: str) -> ArgumentParser:
        return verbs.add_parser(name, help=summary, description=summary, parents=[common])

    listing = add("list", "Show all guards of this host: what they hold, with which tokens, and who stands by.")
    status = add("status", "Tell all about one guard, and who has what it wants.")
    status.add_argument("name", metavar="NAME")
    for one in (listing, status):
        one.add_argument("--json", action="store_true", help="for programs")

    add("metrics", "Tell programs that watch hosts of all guards: phases, tokens and how long renewals take.")

    acquire = add("acquire", "Get a lease for an owner, or one more for a running service.")
    acquire.add_argument("resource", metavar="RESOURCE[:MODE]")
    acquire.add_argument("--ttl", type=seconds, default=600.0, metavar="SECONDS", help="the owner's time (600)")
    acquire.add_argument("--wait", type=seconds, default=0.0, metavar="SECONDS", help="wait for it at most so long (0)")
    release = add("release", "Give a lease back.")
    release.add_argument("resource", metavar="RESOURCE")
    for one in (acquire, release):
        whose = one.add_mutually_exclusive_group(required=True)
        whose.add_argument("--owner", metavar="NAME", help="who holds it; not a service")
        whose.add_argument("--service", metavar="NAME", help="the running service that gets more or less")

    breaking = add("break", "Take a lease from whoever holds it here for an owner. Is logged.")
    breaking.add_argument("resource", metavar="RESOURCE")
    breaking.add_argument("--reason", required=True, metavar="TEXT", help="why")
    for one in (acquire, release, breaking):
        one.add_argument("--driver", metavar="NAME", default="file", help="who keeps it: file, etcd, sanlock … (file)")
        one.add_argument("--parameter", metavar="NAME=VALUE", action="append", default=[], help="for the driver")

    handover = add("handover", "Move what a service holds to another one of this host, which stands by.")
    handover.add_argument("source", metavar="FROM")
    handover.add_argument("target", metavar="TO")
    handover.add_argument("--id", metavar="ID", help="the number of the hand-over; the same again goes on with it")
    handover.add_argument("--cancel", action="store_true", help="take it back, as far as it has gone")
    handover.add_argument(
        "--seconds", type=seconds, default=60.0, metavar="SECONDS", help="keep out others while neither has it (60)"
    )
    handover.add_argument(
        "--timeout", type=seconds, default=60.0, metavar="SECONDS", help="for the end of the first service (60)"
    )

    key = add("key", "Tell by what name a disk is known to all hosts: that of a lease on it.")
    key.add_argument("path", metavar="PATH", help="a block device, or a file that is used as one")

    prepare = add("prepare", "Make a lockspace of sanlock where there is none. Never writes over anything.")
    prepare.add_argument("--driver", choices=["sanlock"], required=True, help="whose store it is")
    prepare.add_argument(
        "--parameter", metavar="NAME=VALUE", action="append", default=[], help="path, lockspace, host_id …"
    )
    prepare.add_argument("--io-timeout", type=int, default=10, metavar="SECONDS", help="sanlock's unit of time (10)")
    prepare.add_argument(
        "--resources", type=int, default=1000, metavar="NUMBER", help="room for so many, 1 MiB each (1000)"
    )
    prepare.add_argument(
        "--join", type=seconds, metavar="SECONDS", help="then join it as host_id, and wait at most so long"
    )
    prepare.add_argument("--check", action="store_true", help="say what would be done")
