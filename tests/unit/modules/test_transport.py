# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a module carries to the host: the daemons stay behind, and it stays small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.presence import NAMES

#: Builds modules as Ansible does, and tells what is in them.
BUILD = """
import base64, io, json, re, sys, zipfile
from ansible.plugins.loader import init_plugin_loader, module_loader
init_plugin_loader([sys.argv[1]])
from ansible.executor.module_common import modify_module
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
found = {}
for name in sys.argv[2:]:
    module = module_loader.find_plugin_with_context("holdfast.supervision." + name)
    built = modify_module(
        module_name=module.resolved_fqcn, module_path=module.plugin_resolved_path, module_args={},
        templar=Templar(DataLoader()), task_vars={"ansible_python_interpreter": "/usr/bin/python3"},
        module_compression="ZIP_DEFLATED",
    )
    archive = max(re.findall(rb"[A-Za-z0-9+/=]{1000,}", built.b_module_data), key=len)
    names = zipfile.ZipFile(io.BytesIO(base64.b64decode(archive))).namelist()
    found[name] = {"size": len(built.b_module_data), "names": names}
print(json.dumps(found))
"""
CHECKOUT = Path(__file__).resolve().parents[3]
#: Of these, the action plugins do all the work: nothing is sent.
SENT = {path.stem for path in (CHECKOUT / "plugins" / "modules").glob("[a-z]*.py")} - {
    "host_facts",
    "host_packages",
    "services_check",
}
#: The module services and those that stand in for it, each with its backends.
CONVERGING = {
    "services": {"embedded", "openrc"},
    "services_suite": {"s6", "runit", "daemontools", "daemontools_encore"},
    "services_systemd": {"systemd"},
    "services_supervisord": {"supervisord"},
}
MODULES = ["service", "service_info", *CONVERGING]
LEASES = ["lease", "lease_info"]
#: Characters that a task sends, 170 000 of them Ansible's own. The larger ones must have all backends, or all drivers of
#: leases, and are run for one service, or once for a host.
LIMIT = 300_000
LARGER = {
    "services_suite": 303_500,
    "lease": 460_000,
    "lease_info": 460_000,
    "service": 372000,
    "service_info": 372_000,
    "supervisor": 450_000,
}
#: Shipped by the runtime alone.
DAEMONS = ("_supervise/_embedded", "_supervise/_logwriter", "_process_state", "_command", "_varlink/server")

#: Who a process is beyond its pid is the same question on both sides.
SHARED = {"_supervise/_embedded/__init__.py", "_supervise/_embedded/identity.py"}


@pytest.fixture(scope="module")
def built(collections_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    home = str(tmp_path_factory.mktemp("home"))
    process = subprocess.run(
        [sys.executable, "-c", BUILD, str(collections_path), *SENT],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HOME": home, "ANSIBLE_HOME": home},
        timeout=600,
    )
    assert process.returncode == 0, process.stderr
    return dict(json.loads(process.stdout))


@pytest.mark.parametrize("module", MODULES)
def test_no_daemon_is_carried_along(built: dict[str, dict[str, object]], module: str) -> None:
    names = built[module]["names"]
    assert isinstance(names, list)
    ours = [name.partition("/module_utils/")[2] for name in names if "/supervision/plugins/module_utils/" in name]
    wanted = CONVERGING.get(module, set(NAMES))
    assert {name for name in NAMES if f"_supervise/{name}.py" in ours} == wanted
    assert ("_varlink/client.py" in ours) is ("embedded" in wanted)
    assert [name for name in ours if name.startswith(DAEMONS) and name not in SHARED] == []
    assert {name for name in ours if name.startswith("_lease/")} <= {"_lease/__init__.py", "_lease/reports.py"}


@pytest.mark.parametrize("module", LEASES)
def test_the_modules_for_leases_carry_drivers_and_no_guard(built: dict[str, dict[str, object]], module: str) -> None:
    names = built[module]["names"]
    assert isinstance(names, list)
    ours = [name.partition("/module_utils/")[2] for name in names if "/supervision/plugins/module_utils/" in name]
    assert {"_lease/file.py", "_lease/etcd.py", "_lease/handle.py"} <= set(ours)
    assert [name for name in ours if name.startswith("_lease/_guard/")] == []
    assert [name for name in ours if name.startswith(DAEMONS) and name not in SHARED] == []


@pytest.mark.parametrize("module", sorted(SENT))
def test_a_module_is_small(built: dict[str, dict[str, object]], module: str) -> None:
    size, names = built[module]["size"], built[module]["names"]
    assert isinstance(size, int) and size <= LARGER.get(module, LIMIT)
    assert isinstance(names, list)
    assert not [name for name in names if name.endswith("_definition/schema.py")], "that is for the controller"
