# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is told of services that are there, and of those that are not."""

from __future__ import annotations

from pathlib import Path

from fake_backend import FakeBackend

from ansible_collections.holdfast.supervision.plugins.module_utils._plan.converge import converge
from ansible_collections.holdfast.supervision.plugins.module_utils._plan.directories import Wanted
from ansible_collections.holdfast.supervision.plugins.module_utils._plan.information import information
from ansible_collections.holdfast.supervision.plugins.module_utils._plan.request import Request


def prepare(scan: Path) -> None:
    meta = {"format": 1, "definition": "d1", "log": {"to": "directory", "directory": "/var/log/web"}}
    service = Wanted("web", meta, {"run": (b"", 0o755)})
    assert converge(Request(str(scan), {"web": service}, offline=True), FakeBackend())["changed"]
    (scan / "plain").mkdir()
    (scan / "plain" / "down").touch()


def test_all_services(tmp_path: Path) -> None:
    prepare(tmp_path)
    backend = FakeBackend(web={"state": "ready", "want": "up", "pid": 7, "ready": True, "definition": "d0.1"})
    result = information(None, str(tmp_path), backend)
    assert result["changed"] is False and result["supervisor"] == {"pid": 1} and result["warnings"] == []
    plain, web = result["services"]
    assert (plain["name"], plain["exists"], plain["foreign"], plain["enabled"]) == ("plain", True, True, False)
    assert plain["definition"] is None and plain["state"] == "unknown"
    assert (web["foreign"], web["owner"], web["identity"]) == (False, "services", "d1.1")
    assert (web["state"], web["pid"], web["ready"], web["enabled"]) == ("ready", 7, True, True)
    assert web["log_directory"] == "/var/log/web" and web["restart_needed"]
    assert plain.keys() == web.keys()


def test_names_that_are_not_there(tmp_path: Path) -> None:
    prepare(tmp_path)
    result = information(["nope", "web", "../web"], str(tmp_path), FakeBackend(running=False))
    assert [(record["name"], record["exists"]) for record in result["services"]] == [
        ("nope", False),
        ("web", True),
        ("../web", False),
    ]
    assert result["supervisor"] is None and result["services"][0]["state"] == "absent"


def test_a_bare_host(tmp_path: Path) -> None:
    result = information(None, str(tmp_path / "none"), FakeBackend(running=False))
    hooks = {"before_daemon_start": [], "after_daemon_start": []}
    assert result == {
        "backend": "fake",
        "changed": False,
        "hooks": hooks,
        "services": [],
        "supervisor": None,
        "warnings": [],
    }
