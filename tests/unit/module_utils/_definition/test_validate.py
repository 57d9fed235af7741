# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is accepted, what is refused, and whether the words help."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._definition import validate

WHERE = "services_definitions.billing"
COMMAND = {"command": ["/usr/bin/billing"]}


def texts(definition: Any, name: str = "billing") -> list[str]:
    return [problem.text() for problem in validate.problems(name, definition, WHERE)]


def only(definition: dict[str, Any]) -> str:
    found = texts({**COMMAND, **definition})
    assert len(found) == 1, found
    return found[0]


def test_an_example_is_told_whole_however_deep_it_is() -> None:
    assert only({"lease": "yes"}).endswith('for example {"resources": ["billing-database"]}')
    assert only({"resources": {"io_max": "10M"}}).endswith('for example {"/dev/sda": {"wbps": "10M"}}')


@pytest.mark.parametrize("resources", [[], ["db", "rates:shared"], ["x" * 64]])
def test_a_lease_may_have_names_and_shared_ones(resources: list[str]) -> None:
    assert texts({**COMMAND, "lease": {"resources": resources}}) == []


@pytest.mark.parametrize("name", ["a/b", "", ":shared", "a:exclusive b", 7])
def test_a_resource_is_a_name(name: object) -> None:
    assert f"{WHERE}.lease.resources[0]" in only({"lease": {"resources": [name]}})


def test_a_resource_named_twice_is_refused() -> None:
    assert "named twice" in only({"lease": {"resources": ["db", "db:shared"]}})
    assert "named twice" in only({"lease": {"resources": ["disk:/dev/a", {"type": "disk", "path": "/dev/a/"}]}})


def test_resources_in_one_word_and_in_a_dictionary_are_the_same() -> None:
    words = [
        "db",
        "rates:shared",
        "feed:readonly",
        "disk:/dev/vg0/a",
        "disk:/srv/b.iso:readonly",
        "disk:/c:shared:exclusive",
    ]
    sections = [
        {"name": "db"},
        {"type": "name", "name": "rates", "mode": "shared"},
        {"name": "feed", "mode": "readonly"},
        {"type": "disk", "path": "/dev/vg0/a"},
        {"type": "disk", "path": "/srv/b.iso", "mode": "readonly"},
        {"type": "disk", "path": "/c:shared", "mode": "exclusive"},
    ]
    for resources in (words, sections):
        given, found = validate.read("web", {**COMMAND, "lease": {"resources": resources}}, WHERE)
        assert (given["lease"]["resources"], found) == (words, [])


@pytest.mark.parametrize(
    ("resource", "place", "text"),
    [
        ("/dev/sda", "", "for a disk: disk:/dev/sda"),
        ("disk:/a/../b", "", "absolute path without '..'"),
        ({"type": "disc", "path": "/a"}, ".type", "did you mean 'disk'?"),
        ({"type": ["disk"], "path": "/a"}, ".type", "must be one of name, disk"),
        ({"type": "disk", "name": "a"}, ".name", "is not of type disk"),
        ({"type": "disk"}, ".path", "is missing: a resource of type disk has it"),
        ({"path": "/a"}, ".name", "is missing: a resource of type name has it"),
        ({"name": "a", "mode": "read-only"}, ".mode", "did you mean 'readonly'?"),
        ({"name": "a/b"}, ".name", "must be a name"),
        ({"name": "a", 5: "b"}, ".5", "unknown key"),
        ({}, ".name", "is missing"),
    ],
)
def test_a_wrong_resource_is_named_with_its_cure(resource: object, place: str, text: str) -> None:
    told = only({"lease": {"resources": [resource]}})
    assert f"{WHERE}.lease.resources[0]{place}" in told and text in told


@pytest.mark.parametrize("guarded", [{"lease": {}}, {"hooks": {}}, {"type": "forking", "pid_file": "/run/x.pid"}])
def test_a_guard_takes_a_template_too(guarded: dict[str, Any]) -> None:
    assert texts({**guarded, "template": "x.j2"}) == []


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        ({"type": "forking"}, "missing: how else to know which process the service is"),
        ({"pid_file": "/run/x.pid"}, "only a forking service has one"),
        ({"type": "forking", "pid_file": "x.pid"}, "pid_file"),
        ({"type": "forking", "pid_file": "/run/x.pid", "reload_signal": "TERM"}, "passes on"),
        ({"type": "forking", "pid_file": "/run/x.pid", "interval": "1m"}, "only a periodic service has one"),
    ],
)
def test_what_goes_to_the_background_says_where_to_find_it(definition: dict[str, Any], text: str) -> None:
    assert text in only(definition)


@pytest.mark.parametrize("also", [{"finish": ["/bin/true"]}, {"hooks": {}}])
def test_what_would_run_outside_of_the_lease_is_refused(also: dict[str, Any]) -> None:
    assert "is not possible together with lease.containment" in only(
        {"lease": {"containment": "process_group"}, **also}
    )


@pytest.mark.parametrize(
    ("lease", "text"),
    [
        ({"driver": "zookeeper"}, "driver"),
        ({"ttl": "1s"}, "ttl"),
        ({"driver": "file", "ttl": "10s"}, "means nothing to driver file"),
        ({"driver": "file", "ttl": "10s", "parameters": {"scope": "host"}}, "means nothing to driver file"),
        ({"on_lost": "pause", "parameters": {"scope": "hosts"}}, "is not possible with locks on NFS"),
        ({"driver": "etcd", "directory": "/x"}, "means nothing to driver etcd"),
        ({"parameters": []}, "must be a dictionary"),
        ({"parameters": {"Endpoints": "x"}}, "small letters"),
        ({"parameters": {"endpoints": {"a": 1}}}, "list of texts"),
        ({"parameters": {"endpoints": ["a,b"]}}, "list of texts"),
        ({"parameters": {"prefix": "a\nb"}}, "in one line"),
    ],
)
def test_what_a_driver_cannot_be_told(lease: dict[str, Any], text: str) -> None:
    assert text in only({"lease": lease})


@pytest.mark.parametrize(
    ("lease", "text"),
    [
        ({"on_lost": "ignore"}, "on_lost"),
        ({"on_lost": "pause", "driver": "file"}, "do not run out"),
        ({"on_lost": "pause", "driver": "sanlock"}, "not possible with driver sanlock"),
        ({"on_lost": "pause", "containment": "process_group"}, "needs lease.containment pid_namespace"),
        ({"on_lost": "hook"}, "needs hooks"),
        ({"pause_timeout": "1m"}, "for on_lost pause only"),
    ],
)
def test_what_cannot_be_done_when_a_lease_is_lost(lease: dict[str, Any], text: str) -> None:
    assert text in only({"lease": lease})


def test_what_can_be_done_when_a_lease_is_lost() -> None:
    assert texts({**COMMAND, "lease": {"on_lost": "hook"}, "hooks": {}}) == []
    assert texts({**COMMAND, "lease": {"driver": "etcd", "on_lost": "pause", "pause_timeout": "1h"}}) == []
    on_nfs = {"driver": "file", "directory": "/srv/leases", "parameters": {"scope": "hosts"}}
    assert texts({**COMMAND, "lease": {**on_nfs, "ttl": "20s", "on_lost": "hook"}, "hooks": {}}) == []


@pytest.mark.parametrize(
    ("key", "definition"),
    [
        ("lease.containment", {"lease": {"containment": "pid_namespace"}}),
        ("lease.keep", {"lease": {"keep": "10s"}}),
        ("lease.on_lost", {"lease": {"on_lost": "kill"}}),
        ("hooks", {"hooks": {}}),
        ("finish", {"finish": ["/bin/true"]}),
        ("health", {"health": {"check": ["/bin/true"]}}),
        ("readiness.check", {"readiness": {"check": ["/bin/true"]}}),
        ("readiness.notification_fd", {"readiness": {"notification_fd": 3}}),
        ("type", {"type": "forking", "pid_file": "/run/x.pid"}),
        ("type", {"type": "oneshot"}),
        ("lease.safety", {"lease": {"safety": "strict"}}),
        ("lease.parameters.scope", {"lease": {"parameters": {"scope": "hosts"}}}),
    ],
)
def test_what_needs_somebody_beside_the_service_is_refused_by_name(key: str, definition: dict[str, Any]) -> None:
    lease = {"mode": "exec", "safety": "standard", **definition.get("lease", {})}
    problem = only({**definition, "lease": lease})
    assert problem.startswith(f"{WHERE}.{key}: ")
    assert "mode exec" in problem
    assert "guard" in problem


def test_without_a_guard_every_signal_reaches_the_service() -> None:
    lease = {"mode": "exec", "safety": "standard"}
    assert texts({**COMMAND, "lease": lease, "reload_signal": "TERM", "stop_signal": "QUIT", "kill": "process"}) == []
    assert "passes on" in only({"lease": {}, "reload_signal": "TERM"})
    assert "lease.safety" in only({"lease": {"mode": "exec"}})


def test_a_password_is_refused_unseen_and_its_file_is_not() -> None:
    problem = only({"lease": {"driver": "etcd", "parameters": {"password": "geheim"}}})
    assert "password_file" in problem
    assert "geheim" not in problem
    assert texts({**COMMAND, "lease": {"driver": "etcd", "parameters": {"password_file": "/x", "user": "y"}}}) == []


def test_what_all_leases_have_in_common_is_read_and_faults_name_their_variable() -> None:
    given = {"leases_driver": "etcd", "leases_ttl": "15s", "leases_parameters": {"endpoints": ["a", "b"]}, "other": 1}
    common, problems = validate.read_lease_defaults(given)
    assert (common, problems) == ({"driver": "etcd", "ttl": 15.0, "parameters": {"endpoints": "a,b"}}, [])
    common, problems = validate.read_lease_defaults({"leases_driver": "nfs", "leases_ttl": 20})
    assert common == {"ttl": 20.0}
    assert [problem.path for problem in problems] == ["leases_driver"]


@pytest.mark.parametrize(
    "also",
    [
        {"finish": ["/bin/true"]},
        {"health": {"check": ["/bin/true"]}},
        {"readiness": {"check": ["/bin/true"]}},
        {"readiness": {"notification_fd": 3}},
        {"hooks": {"timeout": "5s"}},
    ],
)
def test_what_belongs_to_a_service_goes_into_its_tenure(also: dict[str, Any]) -> None:
    assert texts({**COMMAND, "lease": {}, **also}) == []


def test_a_guard_passes_some_signals_on_only() -> None:
    assert "passes on: ALRM" in only({"lease": {}, "reload_signal": "PWR"})
    assert texts({**COMMAND, "lease": {}, "reload_signal": "USR1"}) == []


@pytest.mark.parametrize("mode", ["guard", "exec"])
def test_a_leased_service_may_reload(mode: str) -> None:
    assert texts({**COMMAND, "lease": {"mode": mode, "safety": "standard"}, "on_change": "reload"}) == []


def test_a_command_is_enough() -> None:
    assert texts(COMMAND) == []


@pytest.mark.parametrize(
    "definition",
    [
        {"user": "billing", "group": "www-data", "groups": ["adm", 4]},
        {"user": 1000},
        {"command": ["/bin/x", "y" * 131071], "environment": {"AB": "y" * 131068}},
        {"user": "1000", "group": 2**32 - 2},
        {"type": "periodic", "interval": "52w", "stop_timeout": 100 * 365 * 86400},
        {"environment": {"PORT": "8080", "N": 3, "EMPTY": "", "Q": 'it\'s\n"all" $HOME `x`'}},
        {"secret_environment": {"PASSWORD": "x", "PIN": 1234}},
        {"umask": "027", "nice": -5, "oom_score_adjust": 1000, "directory": "/srv/billing/"},
        {"limits": {"nofile": 1024, "core": "unlimited", "memlock": "64M", "nproc": [10, "unlimited"]}},
        {
            "resources": {
                "memory_max": "1G",
                "cpu_weight": 50,
                "cpu_max": "150%",
                "io_max": {"/dev/sda": {"wbps": "1M"}},
                "pids_max": 9,
            }
        },
        {"security_context": {"apparmor": "billing"}},
        {"type": "periodic", "interval": "15m"},
        {"backoff": {"initial": "100ms", "maximum": 5}, "failure_limit": {"deaths": 3, "within": "1h"}},
        {"stop_signal": "SIGINT", "reload_signal": "USR1", "stop_timeout": 0},
        {"readiness": {"notification_fd": 3, "timeout": "2m"}},
        {"readiness": {"check": ["curl", "-fsS", "http://localhost"], "interval": 1}},
        {"health": {"check": ["/bin/true"]}},
        {"runtime_directories": ["/run/billing", {"path": "/run/x", "mode": "0700", "user": "root"}]},
        {"log": False},
        {"log": True},
        {"log": "none"},
        {"log": {"size": "500k", "age": "1d", "keep": "12h", "count": 3, "format": "tai64n"}},
        {"log": {"to": "journald"}},
        {"nice": None, "log": None, "environment": None},
        {"command": ["bin/worker"], "directory": "/srv/billing"},
        {"command": None, "template": "mine.j2"},
        {"command": None, "state": "absent"},
    ],
    ids=lambda value: str(value)[:100],
)
def test_accepted(definition: dict[str, Any]) -> None:
    assert texts({**COMMAND, **definition}) == []


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ({"command": "/usr/bin/x -v 'a b'"}, ["command", "['/usr/bin/x', '-v', 'a b']"]),
        ({"command": "cat a | sort > b"}, ["['/bin/sh', '-c', \"cat a | sort > b\"]"]),
        ({"command": "it's"}, ["write a list"]),
        ({"command": []}, ["must not be empty"]),
        ({"command": ["/usr/bin/x -v"]}, ["one word of a command", "['/usr/bin/x', '-v']"]),
        ({"command": ["/bin/x", True]}, ["command[1]", "true", "in quotes"]),
        ({"command": ["/bin/x", 1.10]}, ["command[1]", "in quotes"]),
        ({"command": ["/bin/x", None]}, ["command[1]", '""']),
        ({"command": ["/bin/x", ["y"]]}, ["command[1]", "must be text"]),
        ({"command": ["-x"]}, ["command[0]"]),
        ({"command": ["/bin/"]}, ["command[0]"]),
        ({"command": ["a\0b"]}, ["command[0]", "NUL"]),
        ({"command": ["/bin/x", "\ud800"]}, ["command[1]", "UTF-8"]),
        ({"environment": {"A": "\ud800"}}, ["environment.A", "UTF-8"]),
        ({"description": "\ud800"}, ["description", "UTF-8"]),
        ({"directory": "/srv\n"}, ["directory", "control"]),
        ({"command": ["bin/x"]}, ["command[0]", "absolute", "directory"]),
        ({"command": None}, ["command", "missing"]),
        ({"comand": ["/bin/x"]}, [f"{WHERE}.comand", "unknown key", "'command'"]),
        ({"qqqq": 1}, ["unknown key", "known:", "umask"]),
        ({"user": "a b"}, ["user", "account"]),
        ({"user": "../x"}, ["user", "account"]),
        ({"user": "-x"}, ["user", "account"]),
        ({"user": 2**32 - 1}, ["user", "account"]),
        ({"user": "99999999999"}, ["user", "account"]),
        ({"groups": "adm"}, ["groups", "write a list: [adm]"]),
        ({"groups": ["a:b"]}, ["groups[0]"]),
        ({"command": ["/bin/x", "y" * 131072]}, ["command[1]", "128 KiB", "into a file"]),
        ({"environment": {"AB": "ä" * 65535}}, ["environment.AB", "128 KiB", "into a file"]),
        ({"secret_environment": {"AB": "y" * 131069}}, ["secret_environment.AB", "(secret)", "128 KiB"]),
        ({"environment": {"DEBUG": True}}, ["environment.DEBUG", "true", '"true"']),
        ({"environment": {"RATE": 0.5}}, ["environment.RATE", '"0.5"']),
        ({"environment": {"A": None}}, ["environment.A", '""']),
        ({"environment": {"1A": "x"}}, ["environment.1A", "no digit"]),
        ({"environment": {"A-B": "x"}}, ["environment.A-B"]),
        ({"environment": {"A\nB": "x"}}, ["environment.A"]),
        ({"environment": {"UID": "x"}}, ["environment.UID", "the shell", "/usr/bin/env"]),
        ({"environment": {"HOLDFAST_APPLIED": "1"}}, ["HOLDFAST_APPLIED", "holdfast"]),
        ({"environment": ["A=b"]}, ["environment", "NAME: value"]),
        ({"environment": {"A": "b"}, "secret_environment": {"A": "b"}}, ["environment.A", "secret_environment too"]),
        ({"directory": "srv"}, ["directory", "absolute"]),
        ({"directory": "/srv/../etc"}, ["directory", "'..'"]),
        ({"umask": 23}, ["umask", '"0027"']),
        ({"umask": 22}, ["umask", '"0022"']),
        ({"umask": "0899"}, ["umask", "octal"]),
        ({"umask": "7777"}, ["umask", "'0777'"]),
        ({"runtime_directories": [{"path": "/run/x", "mode": 493}]}, ["runtime_directories[0].mode", '"0755"']),
        ({"runtime_directories": [{"path": "/run/x", "mode": 755}]}, ['"0755"']),
        ({"runtime_directories": [{"mode": "0755"}]}, ["runtime_directories[0].path", "missing"]),
        ({"runtime_directories": "/run/x"}, ["must be a list", '["/run/x"]']),
        ({"nice": 20}, ["nice", "20", "from -20 to 19"]),
        ({"nice": "high"}, ["nice", '"high"', "whole number", "from -20 to 19"]),
        ({"limits": {"nofiles": 1}}, ["limits.nofiles", "'nofile'"]),
        ({"limits": {"nofile": "many"}}, ["limits.nofile", '"many"', "'unlimited'"]),
        ({"limits": {"nofile": [10, 5]}}, ["limits.nofile", "soft"]),
        ({"limits": {"nofile": ["unlimited", 5]}}, ["limits.nofile", "soft"]),
        ({"limits": {"nofile": [1, 2, 3]}}, ["limits.nofile", "[soft, hard]"]),
        ({"limits": {"nofile": 10**30}}, ["limits.nofile", "a number"]),
        ({"limits": {"nofile": "9" * 400}}, ["limits.nofile", "a number"]),
        ({"limits": 1024}, ["limits", "{nofile: 65536}"]),
        ({"resources": {"memory": "1G"}}, ["resources.memory", "'memory_max'"]),
        ({"resources": {"memory_max": "9999999T"}}, ["resources.memory_max", "below 8 EiB"]),
        ({"resources": {"pids_max": 10**30}}, ["resources.pids_max", "whole number"]),
        ({"resources": {"cpu_max": 2}}, ["resources.cpu_max", "'200%'"]),
        ({"resources": {"io_max": {"sda": {"rbps": 1}}}}, ["resources.io_max.sda", "absolute"]),
        ({"security_context": {"apparmor": "a", "selinux": "b"}}, ["security_context", "exclude"]),
        ({"state": "start"}, ["state", "started, stopped, once, absent", "'started'"]),
        ({"state": True}, ["state", "truth values"]),
        ({"type": "periodic"}, ["interval", "missing", "15m"]),
        ({"interval": 5}, ["interval", "type: periodic"]),
        ({"type": "periodic", "interval": 0}, ["interval", "more than 0"]),
        ({"backoff": {"initial": 40}}, ["backoff", "maximum"]),
        ({"stop_timeout": "ten"}, ["stop_timeout", '"ten"', "10s"]),
        ({"stop_timeout": "5300w"}, ["stop_timeout", "at most 100 years"]),
        ({"stop_timeout": 1e11}, ["stop_timeout", "at most 100 years"]),
        ({"stop_timeout": "9" * 400}, ["stop_timeout", "must be a time"]),
        ({"stop_timeout": -1}, ["stop_timeout"]),
        ({"stop_timeout": True}, ["stop_timeout"]),
        ({"stop_signal": 15}, ["stop_signal", "write TERM"]),
        ({"stop_signal": "sigint"}, ["stop_signal", "write INT"]),
        ({"stop_signal": "BOOM"}, ["stop_signal", "known:", "USR1"]),
        ({"readiness": {"notification_fd": 1}}, ["readiness.notification_fd", "from 3"]),
        ({"readiness": {"notification_fd": 3, "check": ["/bin/true"]}}, ["readiness", "exclude"]),
        ({"readiness": {"check": "/bin/true"}}, ["readiness.check", "['/bin/true']"]),
        ({"readiness": "fd"}, ["readiness", "notification_fd, check"]),
        ({"health": {"interval": 5}}, ["health", "check or heartbeat_fd"]),
        ({"health": {"check": ["/bin/h"], "heartbeat_fd": 4}}, ["health", "not both"]),
        (
            {"health": {"heartbeat_fd": 3}, "readiness": {"notification_fd": 3}},
            ["health.heartbeat_fd", "notification_fd"],
        ),
        ({"needs": "db"}, ["needs", "[db]"]),
        ({"needs": ["../db"]}, ["needs[0]", "name of a service"]),
        ({"needs": [["db"]]}, ["needs[0]", "name of a service"]),
        ({"needs": [{"../db": "active"}]}, ["needs[0]", "name of a service"]),
        ({"needs": {"db": "activ"}}, ["needs.db", "must be ready or active", "did you mean 'active'"]),
        ({"needs": ["web", {"db": True}]}, ["needs[1].db", "must be ready or active"]),
        ({"log": {"size": "1 parsec"}}, ["log.size", "1024"]),
        ({"log": {"size": 10}}, ["log.size", "4096 or more"]),
        ({"log": "journal"}, ["log.to", "'journald'"]),
        ({"log": {"to": False}}, ["log.to", "truth values"]),
        ({"template": ""}, ["template"]),
        ({"command_check": "maybe"}, ["command_check", "true or false"]),
    ],
    ids=lambda value: str(value)[:100],
)
def test_refused_with_help(definition: dict[str, Any], words: list[str]) -> None:
    text = only(definition)
    for word in words:
        assert word in text


@pytest.mark.parametrize("definition", ["/bin/x", ["/bin/x"], None, 5, True])
def test_a_definition_is_a_dictionary(definition: Any) -> None:
    [text] = texts(definition)
    assert "dictionary" in text


@pytest.mark.parametrize("name", ["a/b", "..", ".x", "-x", "a\n", "a\nb", "", "a" * 65, "ä", 5, "a b"])
def test_names_that_cannot_be_directories(name: Any) -> None:
    [text] = texts(COMMAND, name)
    assert "must be a name of a service" in text and ("write it in quotes" in text) is (name == 5)


@pytest.mark.parametrize("name", ["a", "web-1", "getty@tty1", "_x", "9", "a" * 64, "x.y:z+1"])
def test_names(name: str) -> None:
    assert texts(COMMAND, name) == []


def test_all_problems_at_once() -> None:
    found = texts({"comand": 1, "nice": 99, "limits": {"a": 1, "nofile": "x"}, "environment": {"A": True, "B": False}})
    assert len(found) == 7
    assert all(text.startswith(WHERE) for text in found)


def test_a_secret_is_never_shown() -> None:
    secret = "Tr0ub4dor"
    for wrong in (
        [secret],
        {"1a": secret},
        {"P": [secret]},
        {"P": {"x": secret}},
        f"{secret}\0",
        {"P": f"{secret}\0"},
        {"P": 0.5},
    ):
        text = " ".join(texts({**COMMAND, "secret_environment": wrong}))
        assert "secret_environment" in text
        assert secret not in text
        assert "0.5" not in text
    assert secret not in " ".join(texts([{"secret_environment": {"P": secret}}]))
    assert secret not in " ".join(texts({**COMMAND, "secret_enviroment": {"P": secret}}))


def test_long_values_are_cut() -> None:
    assert len(only({"state": "x" * 5000})) < 300


def test_defaults_are_judged_on_their_own() -> None:
    usable, found = validate.read_defaults(
        {"nice": 99, "user": "app", "usr": 1, "log": {"count": 0}}, "services_defaults"
    )
    assert usable == {"user": "app"}
    assert [problem.path for problem in found] == [
        "services_defaults.nice",
        "services_defaults.usr",
        "services_defaults.log.count",
    ]


def test_a_problem_is_one_line_with_the_host() -> None:
    [problem] = validate.problems("billing", {**COMMAND, "limits": {"nofile": "many"}}, WHERE)
    assert problem.text("web1").startswith('web1: services_definitions.billing.limits.nofile: "many": must be')
    [problem] = validate.problems("billing", {**COMMAND, "environment": {"A\nB": "x"}}, WHERE)
    assert "\n" not in problem.text("web1")
