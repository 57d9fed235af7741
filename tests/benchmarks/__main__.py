# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All benchmarks: the embedded supervisor and the privileged helper beside their peers, in one run and two tables.

    python3 tests/benchmarks [--quick] [--full] [--real-time] [--json FILE] [SUBJECT …]

Run as root on a machine that does nothing else. Suites that are not installed have no figures.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
from pathlib import Path

import adoption
import collection
import flood
import helping
import procs
import supervision
from embedded import Embedded
from family import S6, Daemontools, Runit
from report import FLOOR, Report, progress
from suite import Suite
from supervisord import Supervisor

SUBJECTS = ("supervision", "adoption", "flood", "logs", "converging", "helper")
SUITES: tuple[type[Suite], ...] = (Embedded, S6, Runit, Daemontools, Supervisor)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/benchmarks", description=__doc__)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"all, or any of: {', '.join(SUBJECTS)}")
    parser.add_argument("--quick", action="store_true", help="200 services at most")
    parser.add_argument("--full", action="store_true", help="the usual Ansible loop with 200 services too (15 minutes)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures to FILE as well")
    parser.add_argument(
        "--real-time",
        action="store_true",
        help="run supervisors and services with real-time priority, where the machine is not idle",
    )
    chosen = parser.parse_args()
    if unknown := set(chosen.subjects) - set(SUBJECTS):
        parser.error(f"no such subject: {' '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        parser.error("only root can run services as other users")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    collection.make_importable()
    procs.adopt_orphans()
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    report = Report()
    helped = Report((FLOOR, "privsep", "manager", "sudo"), "helper")
    try:
        for subject in SUBJECTS:
            if subject in chosen.subjects or not chosen.subjects:
                # Programs that never stop writing would keep everybody else off the processors for long.
                real_time(chosen.real_time and subject != "flood")
                measure(subject, helped if subject == "helper" else report, chosen)
    finally:
        real_time(False)
        procs.end_all()
    if chosen.real_time:
        for one in (report, helped):
            one.note("Everything but the flood was measured with real-time priority, for every suite.")
    for one in (report, helped):
        if one.rows:
            print(one.table())
    report.rows += helped.rows
    if chosen.json:
        report.write(chosen.json)
    return 0


def measure(subject: str, report: Report, chosen: argparse.Namespace) -> None:
    """Add the rows of one subject."""
    suites = [kind for kind in SUITES if kind.available()]
    for kind in SUITES:
        if kind not in suites:
            progress(f"{kind.title} is not installed")
    if subject == "supervision":
        for count in (200,) if chosen.quick else (200, 1000):
            for state in (False, True):
                supervision.measure(report, suites, count, state)
    elif subject == "adoption":
        adoption.measure(report, chosen.quick)
    elif subject == "flood":
        flood.measure(report, suites)
    elif subject == "logs":
        import logging_speed

        logging_speed.measure(report)
    elif subject == "helper":
        helping.measure(report, chosen.quick)
    else:
        import over_ssh

        over_ssh.measure(report, chosen.quick, chosen.full)


def real_time(wanted: bool) -> None:
    """Have this process, and what it starts from now on, go before everything else on the machine, or not."""
    policy = os.SCHED_RR if wanted else os.SCHED_OTHER
    os.sched_setscheduler(0, policy, os.sched_param(1 if wanted else 0))


if __name__ == "__main__":
    sys.exit(main())
