#!/usr/bin/python
# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: supervisor
short_description: Run, stop or remove the supervisor of a scan directory
version_added: 0.1.0
author:
  - The holdfast.supervision authors (@holdfast)
description:
  - Makes the directories that the supervisor works in, writes units or scripts for the init, and has it run with the
    version of the runtime that M(holdfast.supervision.runtime) has made current.
  - A running supervisor of another version becomes the new one. Its services do not notice. If the new version does not answer
    in time, the previous one is made current again, runs again, and the task fails.
  - With O(backend=systemd) nothing of ours supervises; the directories and the settings are made from which
    M(holdfast.supervision.services) makes units.
  - Where process 1 is a supervisor of the daemontools family, the one that is asked for becomes a service of it. Where process 1 supervises
    O(scan_directory) itself, as in a container, it is never stopped nor exchanged for another backend.
  - Where an ordinary user deploys whose own systemd lingers (C(loginctl enable-linger)), units of that start it.
  - Where neither systemd nor OpenRC, nor an init of System V, nor such a supervisor is there, or another ordinary user deploys, the supervisor
    is started detached; the result RV(boot) then says that nothing will start it at boot.
extends_documentation_fragment:
  - holdfast.supervision.attributes
attributes:
  check_mode:
    support: full
    details:
      - Services that a dead supervisor has left running are not predicted by O(state=stopped) and O(state=absent).
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - V(started) makes sure that it runs, with the current version.
      - V(stopped) stops all services in order, those that need others first, then the supervisor.
      - V(absent) does that and removes units, link and directories; what is not ours stays, and so do logs without
        O(remove_logs).
    type: str
    choices: [started, stopped, absent]
    default: started
  backend:
    description:
      - What supervises the services.
      - V(systemd) needs systemd as the init; no supervisor of this collection runs then.
      - V(supervisord) needs the program C(supervisord), which a distribution's package C(supervisor) brings. It is run with a
        configuration and a socket of its own.
      - V(s6), V(runit), V(daemontools) and V(daemontools_encore) are suites whose programs must be installed. Each gets a scan
        directory of its own below O(scan_directory); what the distribution's packages scan is not touched.
      - V(openrc) needs OpenRC as the init. Each service gets an init script; below them is the supervisor of V(embedded).
      - If another one supervises the scan directory, its services move to this one, one at a time and never two copies of one; then
        the other is removed. A run that was interrupted is finished by the next one.
    type: str
    choices: [embedded, openrc, systemd, supervisord, s6, runit, daemontools, daemontools_encore]
    default: embedded
  prefix:
    description:
      - Where the programs of a suite are that is not installed where all programs are. Absolute.
      - Needed by V(daemontools_encore), of which no package is known.
    type: path
  scan_directory:
    description: Where the service directories are. Absolute.
    type: path
    required: true
  run_directory:
    description:
      - Where the supervisor keeps its socket, its lock and the state of the services. Absolute, best on a C(tmpfs).
      - The link C(.holdfast) in the scan directory leads there.
    type: path
    required: true
  log_directory:
    description: Where the log writer may make the directories of the logs. Absolute.
    type: path
    required: true
  runtime_directory:
    description: Where M(holdfast.supervision.runtime) keeps the versions. Absolute.
    type: path
    required: true
  python:
    description: The interpreter that runs the supervisor. Absolute.
    type: path
    default: /usr/bin/python3
  log_user:
    description:
      - The user that the log writer runs as, and that owns O(log_directory). The user must exist.
      - Without it the log writer runs as the user that the supervisor runs as.
    type: str
  version:
    description: The version of the runtime that is to run. Without it, the one that is current.
    type: str
  units:
    description:
      - The systemd units, name to content. They are written, enabled and started where systemd is the init, in this order. Those of an
        ordinary user are in C(~/.config/systemd/user), and used where the user's own systemd lingers, or as long as they are there.
      - The one that runs the supervisor is C(holdfast.service). If its content changes, it is restarted; services go on.
    type: dict
    default: {}
  scripts:
    description:
      - The scripts for C(/etc/init.d) where OpenRC (key C(openrc)) or an init of System V (key C(sysvinit)) runs the host.
      - With the latter a line of C(/etc/inittab) has process 1 start the supervisor again whenever it ends.
      - With the key C(below), the script of the service that the supervisor is where process 1 supervises services itself
        (C(s6-svscan), C(runsvdir), C(runit), C(svscan)). It lies in C(below) beside O(scan_directory), with a link to it in the
        directory that process 1 scans. Without the key such a host is refused.
    type: dict
    default: {}
  timeout:
    description: Seconds in which a supervisor must answer after its start or its exchange.
    type: float
    default: 10.0
  stop_timeout:
    description: Seconds in which all services must have stopped.
    type: float
    default: 120.0
  remove_logs:
    description: Whether O(state=absent) removes the log files too.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: A supervisor in the home of an ordinary user
  holdfast.supervision.supervisor:
    scan_directory: /home/alice/.holdfast/services
    run_directory: /home/alice/.holdfast/run
    log_directory: /home/alice/.holdfast/log
    runtime_directory: /home/alice/.holdfast/lib

- name: Stop all services, then the supervisor
  holdfast.supervision.supervisor:
    scan_directory: /etc/holdfast/services
    run_directory: /run/holdfast
    log_directory: /var/log/holdfast
    runtime_directory: /usr/local/lib/holdfast
    state: stopped
"""

RETURN = r"""
state:
  description: Whether a supervisor runs now.
  returned: success
  type: str
  sample: running
pid:
  description: Its process.
  returned: success
  type: int
  sample: 4711
version:
  description: The version of its runtime.
  returned: success
  type: str
  sample: 3f2c9a5d1b0e7c46
since:
  description: When it was started, in seconds since 1970.
  returned: success
  type: float
  sample: 1763712000.25
boot:
  description: What starts it when the host boots, in words.
  returned: success
  type: str
  sample: systemd starts it at boot
deployed:
  description: Whether the scan directory was there.
  returned: success
  type: bool
  sample: true
switched:
  description:
    - The services that have changed the supervisor because O(backend) is another one than before, by their names.
  returned: success, and when a switch fails
  type: dict
  contains:
    from:
      description: The former backend.
      type: str
      returned: always
      sample: runit
    to:
      description: The present backend.
      type: str
      returned: always
      sample: s6
    down:
      description: Seconds from the order to stop to the start of the new process; None in check mode.
      type: float
      returned: always
      sample: 0.08
    ready:
      description: Seconds until it was ready again; None for what was not ready before.
      type: float
      returned: always
      sample: 0.62
actions:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [start the supervisor]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.holdfast.supervision.plugins.module_utils._plan.patience import refusal
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime import (
    control,
    host,
    roots,
    switch,
)
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.directories import Unsafe
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.embedded_root import EmbeddedRoot
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.files import relative, told
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.install import InstallError
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.interpreter import Runner
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.openrc_root import OpenRcRoot
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.roots import Root
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.suite_root import SUITES
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.supervisord_root import SupervisordRoot
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.systemd import UnitError
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.systemd_root import SystemdRoot
from ansible_collections.holdfast.supervision.plugins.module_utils._runtime.talk import TalkError
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise import holding
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.interface import BackendError

ROOTS: dict[str, type[Root]] = {
    root.name: root for root in (EmbeddedRoot, OpenRcRoot, SystemdRoot, SupervisordRoot, *SUITES)
}


def supervisor(options: dict[str, Any], state: str, backend: str, run: Runner, check_mode: bool) -> dict[str, Any]:
    """Do what the module is asked to, and give its result."""
    wrong = relative(options, *(f"{place}_directory" for place in ("scan", "run", "log", "runtime")))
    if not options["timeout"] > 0:
        # An upgrade would be taken back before anything could have answered.
        wrong = f"timeout: {options['timeout']:g}: must be more than 0 seconds; nothing was changed"
    negative = refusal("stop_timeout", options["stop_timeout"])
    if negative:
        wrong = f"{negative}; nothing was changed"
    if wrong:
        raise host.Failed(wrong)
    root = ROOTS[backend].on(options, run)
    if state == "started":
        plan = switch.make(root, [kind.beside(options, run) for kind in ROOTS.values() if kind.name != backend])
        if plan.needed:
            return switch.run(plan, check_mode)
    elif holding.switching(root.wanted.scan_directory):
        raise host.Failed(
            "a switch of the backend was interrupted: finish it first (supervisor_state: started), or services of the other "
            "backend would be left"
        )
    if isinstance(root, EmbeddedRoot):
        scripts = _scripts(backend, options, run)
        if scripts is not None and not check_mode:
            scripts.remove_scripts()
        if state == "stopped":
            result = control.stopped(root.host, check_mode)
        else:
            result = (root.started if state == "started" else root.absent)(check_mode)
        if scripts is not None:
            result["actions"].insert(0, f"remove {scripts.folder}")
            result["changed"] = True
        return {**result, "switched": {}}
    of_root = {"started": roots.started, "stopped": roots.stopped, "absent": roots.absent}[state]
    return {**of_root(root, check_mode), "switched": {}}


def _scripts(backend: str, options: dict[str, Any], run: Runner) -> OpenRcRoot | None:
    """Give what has init scripts for the services while the same supervisor is to go on without them."""
    found = OpenRcRoot.beside(options, run)
    return found if backend == "embedded" and isinstance(found, OpenRcRoot) and found.left() else None


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["started", "stopped", "absent"], "default": "started"},
            "backend": {"type": "str", "choices": [*ROOTS], "default": "embedded"},
            "prefix": {"type": "path"},
            "scan_directory": {"type": "path", "required": True},
            "run_directory": {"type": "path", "required": True},
            "log_directory": {"type": "path", "required": True},
            "runtime_directory": {"type": "path", "required": True},
            "python": {"type": "path", "default": "/usr/bin/python3"},
            "log_user": {"type": "str"},
            "version": {"type": "str"},
            "units": {"type": "dict", "default": {}},
            "scripts": {"type": "dict", "default": {}},
            "timeout": {"type": "float", "default": 10.0},
            "stop_timeout": {"type": "float", "default": 120.0},
            "remove_logs": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    options = dict(module.params)
    state, backend = options.pop("state"), options.pop("backend")
    try:
        result = supervisor(options, state, backend, module.run_command, module.check_mode)
    except switch.Interrupted as error:
        module.fail_json(msg=str(error), switched=error.switched)
    except (host.Failed, InstallError, TalkError, UnitError, Unsafe, BackendError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=told(error, options["scan_directory"]))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
