# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rendered scripts, run for real."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._definition.normalise import normalise
from ansible_collections.holdfast.supervision.plugins.plugin_utils import render

# A Python that other users may run too.
PYTHON = next((path for path in ("/usr/bin/python3", "/usr/local/bin/python3") if os.path.exists(path)), sys.executable)
SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)]
REPORT = """
import grp, json, os, resource, sys
limits = {name: list(resource.getrlimit(getattr(resource, "RLIMIT_" + name.upper()))) for name in ("nofile", "core")}
mask = os.umask(0)
with open("/proc/self/oom_score_adj") as file:
    oom = int(file.read())
print(json.dumps({"argv": sys.argv[1:], "env": dict(os.environ), "ids": [os.getresuid(), os.getresgid()], "groups": sorted(os.getgroups()),
    "cwd": os.getcwd(), "umask": mask, "nice": os.getpriority(os.PRIO_PROCESS, 0), "limits": limits, "oom": oom, "pid": os.getpid()}), flush=True)
print("to stderr", file=sys.stderr)
"""
NASTY = 'it\'s "all" $HOME `id` \\ \\n $(id) ; | & * ? ~ # ! %s ä\ttab\nnew line\n\nend\n'

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes users")


class Service:
    """A service directory with the rendered scripts of one definition."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.scripts: dict[str, str] = {}

    def write(self, **definition: Any) -> None:
        definition.setdefault("command", [PYTHON, "-I", "-c", REPORT])
        service = normalise("billing", definition, {})
        self.directory.mkdir(mode=0o755)
        self.scripts = render.scripts(service)
        for name, text in self.scripts.items():
            (self.directory / name).write_text(text, encoding="utf-8")
            (self.directory / name).chmod(0o755)
        if service["secret_environment"]:
            (self.directory / "env").mkdir()
        for name, value in service["secret_environment"].items():
            path = self.directory / "env" / name
            path.write_text(value, encoding="utf-8")
            path.chmod(0o600)

    def start(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command or ("./run",),
            cwd=self.directory,
            env={"PATH": os.environ["PATH"], **environment},
            capture_output=True,
            check=False,
            encoding="utf-8",
            timeout=300,
        )

    def report(self, *command: str, **environment: str) -> dict[str, Any]:
        done = self.start(*command, **environment)
        assert done.returncode == 0, done
        assert done.stderr == ""
        first, second = done.stdout.splitlines()
        assert second == "to stderr"
        result = json.loads(first)
        assert isinstance(result, dict)
        return result


@pytest.fixture
def service(tmp_path: Path) -> Service:
    # The users of the tests have to get into the directory.
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.stat().st_uid == os.geteuid() and folder not in (Path("/"), Path("/tmp")):
            folder.chmod(folder.stat().st_mode | 0o011)
    return Service(tmp_path / "billing")


FULL: dict[str, Any] = {
    "description": "Sends the bills",
    "user": "nobody",
    "group": "daemon",
    "groups": ["adm"],
    "environment": {"PORT": 8080, "NASTY": NASTY},
    "secret_environment": {"PASSWORD": "x y'z\n\n"},
    "directory": "/",
    "umask": "0027",
    "nice": 5,
    "limits": {"nofile": [100, 200], "core": 0},
    "oom_score_adjust": 500,
    "finish": ["/bin/echo", "finished"],
    "readiness": {"check": ["/bin/true"]},
    "health": {"check": ["/bin/true"]},
}


def test_a_simple_script_is_short(service: Service) -> None:
    service.write(command=["/usr/bin/billing", "--port", "8080"])
    assert service.scripts == {
        "run": "#!/bin/sh\n# billing\n# Written by Ansible (holdfast.supervision). Changes made here will be overwritten.\nexec 2>&1\n"
        "unset HOLDFAST_APPLIED\n\nexec /usr/bin/billing --port 8080\n"
    }


def test_a_full_script_reads_well(service: Service, checkout: Path) -> None:
    service.write(
        **{
            **FULL,
            "command": ["/usr/bin/billing", "two words"],
            "runtime_directories": ["/run/billing"],
            "environment": {"PORT": 8080},
        }
    )
    expected = (checkout / "tests" / "unit" / "plugin_utils" / "full_run.txt").read_text(encoding="utf-8")
    assert service.scripts["run"] == expected


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("definition", [{}, FULL], ids=["plain", "full"])
def test_scripts_are_sh(service: Service, shell: str, definition: dict[str, Any]) -> None:
    service.write(**definition)
    for name in service.scripts:
        done = service.start(shell, "-n", f"./{name}")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("shell", SHELLS)
def test_values_are_literal(service: Service, shell: str) -> None:
    names = {
        f"V{number}": text
        for number, text in enumerate(
            [NASTY, "", " ", "'", "''", "\n", "-n", "~", "a=b", "~root:~root", "\r\n", "\x01\x7f"]
        )
    }
    argv = [*names.values(), "~", "a b", "*"]
    service.write(command=[PYTHON, "-I", "-c", REPORT, *argv], environment=names)
    report = service.report(shell, "./run")
    assert report["argv"] == argv
    assert {name: report["env"][name] for name in names} == names


def test_the_environment_is_added_to(service: Service) -> None:
    service.write(environment={"A": "1"})
    report = service.report(B="2", HOLDFAST_APPLIED="1", HOLDFAST_SPAWN="token")
    assert report["env"]["A"] == "1"
    assert report["env"]["B"] == "2"
    assert report["env"]["HOLDFAST_SPAWN"] == "token"
    assert "HOLDFAST_APPLIED" not in report["env"]


def test_as_an_ordinary_user_without_process_state(service: Service) -> None:
    service.write(umask="0077", directory="/", environment={"A": "1"}, secret_environment={"S": "line\n"})
    report = service.report()
    assert (report["umask"], report["cwd"]) == (0o77, "/")
    assert report["env"]["S"] == "line\n"
    assert report["ids"] == [list(os.getresuid()), list(os.getresgid())]


@pytest.mark.parametrize("place", ["./run", "sh run", "sh ./run"])
def test_it_does_not_matter_how_a_person_calls_it(service: Service, place: str) -> None:
    service.write(secret_environment={"S": "1"}, nice=3)
    assert service.report(*place.split())["env"]["S"] == "1"
    path = str(service.directory / "run")
    service.directory = service.directory.parent
    assert service.report(path)["nice"] == 3
    assert service.report("billing/run")["env"]["S"] == "1"


@pytest.mark.parametrize("value", ["", "\n", "a\n\n", NASTY, "'", "\\n", "%s", "x" * 5000], ids=range(8))
def test_secrets_arrive_byte_by_byte(service: Service, value: str) -> None:
    service.write(secret_environment={"S": value, "PATH_X": "other"})
    assert service.report()["env"]["S"] == value
    assert value == "" or len(value) < 3 or value not in service.scripts["run"]


def test_a_missing_secret_stops_the_start(service: Service) -> None:
    service.write(secret_environment={"S": "x"})
    (service.directory / "env" / "S").unlink()
    done = service.start()
    assert done.returncode == 111
    assert "env/S" in done.stdout


def test_a_missing_directory_stops_the_start(service: Service) -> None:
    service.write(directory="/no/such/directory")
    done = service.start()
    assert done.returncode == 111
    assert "/no/such/directory" in done.stdout


def test_nothing_is_done_twice(service: Service, tmp_path: Path) -> None:
    """What the supervisor has applied is not applied again: no program for it is even started."""
    service.write(
        **{**FULL, "user": "no-such-user", "group": "no-such-group", "runtime_directories": [str(tmp_path / "made")]},
    )
    report = service.report(HOLDFAST_APPLIED="1", PASSWORD="from the supervisor")
    assert report["env"]["PASSWORD"] == "from the supervisor"
    assert report["env"]["NASTY"] == NASTY
    assert "HOLDFAST_APPLIED" not in report["env"]
    assert (report["umask"], report["cwd"]) == (0o27, "/")
    assert not (tmp_path / "made").exists()


def test_the_pid_stays(service: Service) -> None:
    """The script becomes the command: no shell stays in between."""
    service.write(nice=1, limits={"core": 0}, secret_environment={"S": "x"})
    with subprocess.Popen("./run", cwd=service.directory, stdout=subprocess.PIPE) as process:
        output = process.communicate(timeout=300)[0]
    assert json.loads(output.splitlines()[0])["pid"] == process.pid


def test_check_needs_no_standard_output(service: Service) -> None:
    # As runit's sv starts it, when it waits for a service.
    service.write(readiness={"check": ["/bin/true"]}, nice=1)
    assert service.start("/bin/sh", "-c", "exec ./check >&-").returncode == 0


def test_finish_gets_how_the_service_ended(service: Service) -> None:
    service.write(finish=["/bin/sh", "-c", 'echo "$# $HOLDFAST_EXIT_CODE $HOLDFAST_EXIT_SIGNAL"'], nice=1)
    assert service.start("./finish", "-1", "15").stdout == "0 -1 15\n"
    # A process that left a core has 128 added by some supervisors.
    assert service.start("./finish", "-1", "139").stdout == "0 -1 11\n"
    assert service.start("./finish").stdout == "0  0\n"
    assert service.start("./finish", "1", "0", HOLDFAST_APPLIED="1").stdout == "0 1 0\n"


def test_check_and_health_run_as_the_service_does(service: Service) -> None:
    argv = ["/bin/sh", "-c", 'echo "$A $(pwd) $(nice)"; exit 3']
    service.write(readiness={"check": argv}, health={"check": argv}, environment={"A": "1"}, directory="/", nice=4)
    for name in ("check", "health"):
        done = service.start(f"./{name}")
        assert (done.returncode, done.stdout) == (3, "1 / 4\n")


def test_a_description_stays_a_comment(service: Service) -> None:
    service.write(description="one\n echo two\r\necho three\n\n$(echo four)")
    assert "three" in service.scripts["run"]
    service.report()


@needs_root
def test_process_state_by_hand(service: Service) -> None:
    service.write(**FULL)
    report = service.report()
    nobody, daemon, adm = pwd.getpwnam("nobody"), 1, 4
    assert report["ids"] == [[nobody.pw_uid] * 3, [daemon] * 3]
    assert report["groups"] == [adm]
    assert (report["umask"], report["nice"], report["oom"], report["cwd"]) == (0o27, 5, 500, "/")
    assert report["limits"] == {"nofile": [100, 200], "core": [0, 0]}
    env = report["env"]
    assert env["PASSWORD"] == "x y'z\n\n"
    assert (env["USER"], env["LOGNAME"], env["HOME"]) == ("nobody", "nobody", nobody.pw_dir)
    assert "HOLDFAST_APPLIED" not in env


@needs_root
@pytest.mark.parametrize(
    ("keys", "gid", "groups"),
    [
        ({"user": "nobody"}, 65534, [65534]),
        ({"user": "65534"}, 65534, [65534]),
        ({"user": "nobody", "groups": []}, 65534, []),
        # setpriv keeps the login group among the others, also when the group is another one.
        ({"user": "nobody", "group": "1"}, 1, [65534]),
        ({"group": "daemon"}, 1, []),
        ({"groups": ["adm", "daemon"]}, 0, [1, 4]),
    ],
    ids=str,
)
def test_users_and_groups(service: Service, keys: dict[str, Any], gid: int, groups: list[int]) -> None:
    service.write(**keys)
    report = service.report()
    assert report["ids"][1] == [gid] * 3
    assert report["groups"] == groups
    if "user" in keys:
        assert report["ids"][0] == [65534] * 3
        assert report["env"]["USER"] == "nobody"


@needs_root
def test_runtime_directories(service: Service, tmp_path: Path) -> None:
    one, two = tmp_path / "run dir" / "one", tmp_path / "two"
    service.write(
        user="nobody",
        runtime_directories=[str(one), {"path": str(two), "mode": "0700", "user": "root", "group": "daemon"}],
    )
    for again in range(2):
        service.report(AGAIN=str(again))
        assert (one.stat().st_uid, one.stat().st_gid, one.stat().st_mode & 0o7777) == (65534, 65534, 0o755)
        assert (two.stat().st_uid, two.stat().st_gid, two.stat().st_mode & 0o7777) == (0, 1, 0o700)


@needs_root
def test_a_runtime_directory_is_not_followed_through_a_link(service: Service, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(precious)
    service.write(user="nobody", runtime_directories=[str(tmp_path / "link")])
    assert service.start().returncode == 111
    assert precious.stat().st_uid == 0


@needs_root
def test_an_unknown_user_is_an_error(service: Service) -> None:
    service.write(user="no-such-user")
    done = service.start()
    assert done.returncode != 0
    assert "no-such-user" in done.stdout


def test_unlimited() -> None:
    service = normalise("billing", {"command": ["/bin/x"], "limits": {"nofile": [1024, "unlimited"]}}, {})
    assert " prlimit --nofile=1024:unlimited " in render.scripts(service)["run"]


def test_no_run_script_where_the_user_has_a_template() -> None:
    service = normalise("billing", {"template": "mine.j2", "finish": ["/bin/true"]}, {})
    assert set(render.scripts(service)) == {"finish"}


def test_the_guard_of_a_lease_is_told_what_its_driver_needs() -> None:
    lease = {"driver": "etcd", "ttl": "15s", "parameters": {"endpoints": ["https://a:2379", "https://b:2379"]}}
    run = render.scripts(normalise("billing", {"command": ["/bin/x"], "lease": lease}, {}))["run"]
    for word in ("--driver=etcd", "--ttl=15", "--parameter=endpoints=https://a:2379,https://b:2379"):
        assert word in run
    assert "--directory" not in run
    run = render.scripts(normalise("billing", {"command": ["/bin/x"], "lease": {}}, {}))["run"]
    assert "--directory=/run/holdfast/leases" in run
    assert "--ttl" not in run
    assert "--on-lost" not in run


def test_the_guard_is_told_what_to_do_when_the_lease_is_lost() -> None:
    lease = {"driver": "etcd", "on_lost": "pause", "pause_timeout": "1h"}
    run = render.scripts(normalise("billing", {"command": ["/bin/x"], "lease": lease}, {}))["run"]
    assert "--on-lost=pause" in run
    assert "--pause-timeout=3600" in run
