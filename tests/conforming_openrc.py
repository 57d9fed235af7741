# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""OpenRC for the conformance suite: it runs a test host, in which every test has a scan directory of its own."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any, ClassVar

import hosted
import jinja2
from conforming_systemd import SystemdHost
from converging import PYTHON
from waiting import wait_until

TEMPLATES = Path(__file__).resolve().parents[1] / "roles" / "supervisor" / "templates"


class OpenRcHost(SystemdHost):
    """Init scripts, and our supervisor below them."""

    backend = "openrc"
    title = "openrc"
    # What the embedded supervisor does is shown there; here, what differs when OpenRC gives the commands.
    only: ClassVar[frozenset[str]] = frozenset(
        (
            "test_new_services_run_and_the_second_run_changes_nothing",
            "test_a_service_that_dies_at_once_fails_the_task_and_the_others_converge",
            "test_a_stopped_service_is_there_and_does_not_run",
            "test_it_is_ready_when_it_says_so_on_its_descriptor",
            "test_one_hundred_services_come_up_together",
            "test_a_change_restarts_its_own_service_alone",
            "test_what_is_removed_leaves_nothing_behind",
            "test_a_killed_service_is_started_again",
            "test_after_so_many_deaths_it_has_failed_and_a_start_tries_again",
            "test_after_a_reboot_all_is_as_it_was_to_be",
            "test_a_killed_supervisor_never_makes_a_second_copy",
            "test_stop_and_start",
            "test_no_command_to_a_crash_looping_service_is_lost",
            "test_once_is_one_time",
            "test_ansible_builtin_service_is_redirected",
            "test_a_oneshot_is_done_once_and_up_until_it_is_undone",
            "test_a_oneshot_that_fails_fails_the_task_and_is_not_undone",
            "test_a_oneshot_is_done_again_after_a_boot_before_what_needs_it",
            "test_a_oneshot_that_is_stopped_in_the_middle_is_ended_and_not_undone",
            "test_what_needs_a_oneshot_is_started_when_it_is_done",
            "test_a_service_waits_for_those_that_it_needs",
            "test_what_needs_the_active_copy_runs_where_that_is",
            "test_a_getty_asks_who_is_there_again_and_again",
        )
    )
    lacks: ClassVar[dict[str, str]] = {}
    process_one = False
    defaults: ClassVar[dict[str, Any]] = {"backoff": {"initial": "10ms", "maximum": "50ms"}, "stop_timeout": "5s"}

    @property
    def machine(self) -> hosted.Machine:
        return hosted.Machines.get("openrc")

    def prepare(self) -> None:
        super(SystemdHost, self).prepare()
        folder = self.scan / ".openrc"
        folder.mkdir(0o755)
        (folder / "settings.json").write_text(json.dumps({"python": PYTHON, "runtime": str(self.runtime)}))
        command = self.base / "holdfast"
        command.write_text(f'#!/bin/sh\nexec {PYTHON} -I -S {self.runtime} --scan {self.scan} "$@"\n')
        command.chmod(0o755)
        (self.base / "current").symlink_to(self.runtime)
        (self.base / "script").write_text(self.script())
        (self.base / "script").chmod(0o755)

    def script(self) -> str:
        """What the role writes for the supervisor."""
        environment = jinja2.Environment(autoescape=False, keep_trailing_newline=True)
        environment.filters["quote"] = shlex.quote
        return environment.from_string((TEMPLATES / "holdfast.openrc.j2").read_text()).render(
            __supervisor_backend="openrc",
            supervisor_command=str(self.base / "holdfast"),
            supervisor_log_user="root",
            supervisor_python=PYTHON,
            supervisor_run_directory=str(self.base / "run"),
            supervisor_runtime_directory=str(self.base),
            supervisor_scan_directory=str(self.scan),
            supervisor_stop_timeout=20,
            supervisor_timeout=20,
        )

    def start(self) -> None:
        super().start()
        self.machine.do("cp", str(self.base / "script"), "/etc/init.d/holdfast")
        self.machine.do("rc-service", "--quiet", "holdfast", "start")
        # After a kill that is nothing to OpenRC, which has it started already: supervise-daemon is about to.
        wait_until(self._answers, 30)

    def _answers(self) -> bool:
        try:
            self.snapshot()
        except AssertionError:
            return False
        return True

    def kill(self) -> None:
        """supervise-daemon starts it again."""
        self.machine.do("sh", "-c", 'kill -9 "$(cat "$1")"', "sh", str(self.scan / ".holdfast" / "lock"))

    def reboot(self) -> None:
        """Cut the power. OpenRC would start everything before the host sees the test's folder again."""
        folder = self.base / "links"
        folder.mkdir()
        self.machine.do("sh", "-c", 'mv /etc/runlevels/default/holdfast.* "$1"', "sh", str(folder))
        shutil.rmtree(self.base / "run")
        (self.base / "run").mkdir()
        self.machine.power_cycle()
        self.machine.do("sh", "-c", 'mv "$1"/* /etc/runlevels/default/; openrc default', "sh", str(folder))

    def close(self) -> None:
        """Stop everything in order and take away every script of this scan directory."""
        clean = (
            "rc-service --quiet holdfast stop; rm -f /etc/init.d/holdfast /etc/init.d/holdfast.* "
            "/etc/runlevels/default/holdfast.* /run/openrc/started/holdfast*; rm -rf /run/openrc/daemons/holdfast*; true"
        )
        self.machine.do("sh", "-c", clean)
        super().close()
