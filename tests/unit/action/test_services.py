# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin, with Ansible's own templating and search paths, and a host that only remembers what came."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
from ansible.utils.display import Display

from ansible_collections.holdfast.supervision.plugins.action import services_check
from ansible_collections.holdfast.supervision.plugins.action.services import ELSEWHERE, ActionModule

# Loaded now, since Ansible's importer would not find them afterwards, for the other tests of this process too.
from ansible_collections.holdfast.supervision.plugins.module_utils._lease import etcd, file, none, sanlock
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.backends import BACKENDS
from ansible_collections.holdfast.supervision.plugins.module_utils._supervise.interface import FEATURES
from ansible_collections.holdfast.supervision.plugins.plugin_utils import features


class Shell:
    tmpdir = None


class Connection:
    """A connection that must not be used."""

    _shell = Shell()
    has_native_async = False
    transport = "none"


@pytest.fixture(scope="module", autouse=True)
def plugins() -> None:
    init_plugin_loader([])


#: What is imported when it is asked for.
LATE = (etcd, file, none, sanlock)


def unpacked(arguments: dict[str, Any]) -> Any:
    return json.loads(zlib.decompress(base64.b64decode(arguments["payload"])))


class Host:
    """One host: its variables as YAML, and what reached it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sent: list[dict[str, Any]] = []
        self.modules: list[str] = []
        self.wrap_async = False
        #: What supervises there.
        self.backend = "embedded"
        self.action: type[ActionModule] = ActionModule

    def run(self, variables: str = "", check: bool = False, background: int = 0, **arguments: Any) -> dict[str, Any]:
        loader = DataLoader()
        loader.set_basedir(str(self.folder))
        task_vars = {"inventory_hostname": "web1", "ansible_search_path": [str(self.folder)]}
        task_vars.update(loader.load(trust_as_template(variables or "{}"), file_name="/inventory/vars.yml"))
        templar = Templar(loader=loader, variables=task_vars)
        task = Task()
        task.args = templar.template(arguments)
        task.check_mode = check
        task.async_val = background
        action = self.action(task, Connection(), PlayContext(), loader, templar, None)
        action._execute_module = self._execute
        return action.run(task_vars=task_vars)

    def _execute(
        self, module_name: str, module_args: dict[str, Any], task_vars: Any, wrap_async: bool
    ) -> dict[str, Any]:
        self.modules.append(module_name.removeprefix("holdfast.supervision."))
        self.sent.append(module_args)
        self.wrap_async = wrap_async
        if self.modules[-1] == "services" and self.backend != "embedded" and not wrap_async:
            return {"changed": False, "elsewhere": self.backend}
        return {"changed": True, "services": []}

    @property
    def content(self) -> Any:
        [arguments] = self.sent
        return unpacked(arguments)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


VARIABLES = """
port: 8080
vault_key: hu{{ 'sh' }}
users: {app: billing}
services_defaults: {log: {count: 3}, user: "{{ users.app }}"}
services_definitions:
  billing:
    command: [/usr/bin/billing, --port, "{{ port }}"]
    environment: {PORT: "{{ port }}", PLAIN: "{% raw %}{{ x }}{% endraw %}"}
    secret_environment: {KEY: "{{ vault_key }}"}
services_definitions__web:
  web: {command: [/usr/bin/web], needs: [billing], log: {size: 1M}}
"""


@pytest.mark.parametrize("check", [False, True])
def test_the_variables_of_the_inventory(host: Host, check: bool) -> None:
    result = host.run(VARIABLES, check=check, prune=True, timeout=5, log_directory="/var/log/holdfast/")
    assert result == {"changed": True, "services": []}
    [arguments] = host.sent
    assert {key: value for key, value in arguments.items() if key != "payload"} == {
        "prune": True,
        "timeout": 5,
        "log_directory": "/var/log/holdfast/",
        "secrets": {"billing/KEY": "hush"},
    }
    billing, web = host.content["services"]["billing"], host.content["services"]["web"]
    assert host.content["order"] == ["billing", "web"]
    assert "exec /usr/bin/billing --port 8080\n" in billing["files"]["run"]["content"]
    assert "export PLAIN='{{ x }}'" in billing["files"]["run"]["content"]
    assert billing["holdfast"]["process"]["user"] == "billing"
    assert billing["holdfast"]["log"]["directory"] == "/var/log/holdfast/billing"
    assert (web["holdfast"]["log"]["count"], web["holdfast"]["log"]["size"]) == (3, 1048576)


SLEEP = {"command": ["/bin/sleep", "9"]}


@pytest.mark.parametrize(
    ("backend", "module"),
    [
        ("embedded", "services"),
        ("openrc", "services"),
        ("runit", "services_suite"),
        ("daemontools_encore", "services_suite"),
        ("systemd", "services_systemd"),
        ("supervisord", "services_supervisord"),
    ],
)
def test_the_module_that_is_run_is_the_one_with_the_code_of_the_backend(host: Host, backend: str, module: str) -> None:
    assert host.run(services={"a": SLEEP}, backend=backend) == {"changed": True, "services": []}
    assert host.modules == [module] and host.sent[0]["backend"] == backend


def test_where_another_backend_is_found_its_module_is_run(host: Host) -> None:
    host.backend = "runit"
    assert host.run(services={"a": SLEEP}) == {"changed": True, "services": []}
    assert host.modules == ["services", "services_suite"]
    assert "backend" not in host.sent[0] and host.sent[1]["backend"] == "runit"
    assert list(unpacked(host.sent[1])["services"]) == ["a"]


def test_what_shall_run_in_the_background_is_preceded_by_asking_for_the_backend(host: Host) -> None:
    host.backend = "systemd"
    assert host.run(services={"a": SLEEP}, prune=True, background=60) == {"changed": True, "services": []}
    assert host.modules == ["services", "services_systemd"] and host.wrap_async
    asked, sent = host.sent
    assert unpacked(asked)["services"] == {} and asked["prune"] is False and asked["secrets"] == {}
    assert list(unpacked(sent)["services"]) == ["a"] and sent["prune"] is True and sent["backend"] == "systemd"


def test_for_a_feature_that_the_backend_lacks_it_is_told_who_has_it(host: Host) -> None:
    host.run(services={"a": {**SLEEP, "log": {"keep": "90d"}}}, backend="daemontools")
    having = host.content["having"]
    assert having == features.having("daemontools", host.content) and list(having) == ["log.keep"]
    assert "embedded" in having["log.keep"] and "daemontools" not in having["log.keep"]


def test_the_services_of_the_task_come_first(host: Host) -> None:
    host.run(VARIABLES, services={"a": {"command": ["/bin/a"]}}, defaults={"nice": 3})
    assert list(host.content["services"]) == ["a"]
    assert host.content["services"]["a"]["holdfast"]["process"]["nice"] == 3
    assert host.content["services"]["a"]["holdfast"]["process"]["user"] is None
    assert set(host.sent[0]) == {"payload", "secrets"}


def test_variables_may_be_templates_and_parts_may_be_omitted(host: Host) -> None:
    host.run(
        """
common: {user: app, environment: {A: "1"}}
services_definitions:
  a: "{{ common | combine({'command': ['/bin/a']}) }}"
  b:
    command: [/bin/b, "{{ nothing | default(omit) }}", "{{ 3 }}", '{"json": 1}']
    user: "{{ nothing | default(omit) }}"
    environment: {A: "{{ nothing | default(omit) }}", B: "x"}
services_definitions__x: "{{ {'c': {'command': ['/bin/c']}} if true else {} }}"
services_definitions__y: "{{ omit }}"
services_defaults: "{{ nothing | default({}) }}"
"""
    )
    services = host.content["services"]
    assert list(services) == ["a", "b", "c"]
    assert services["a"]["holdfast"]["process"]["user"] == "app"
    assert services["b"]["holdfast"]["process"]["user"] is None
    assert services["b"]["files"]["run"]["content"].endswith("export B='x'\nexec /bin/b 3 '{\"json\": 1}'\n")


def test_without_any_definition(host: Host) -> None:
    assert host.run()["changed"]
    assert host.content["services"] == {}


def test_all_problems_in_one_failure_without_connecting(host: Host) -> None:
    result = host.run(
        """
services_defaults: {nise: 5}
services_definitions:
  a: {command: /bin/a -v, environment: {DEBUG: true}}
  b: {command: [/bin/b], needs: [c], secret_environment: {KEY: [hush]}}
  t: {command: ["{{ no_such_variable }}", x], user: "{{ 'app' }}"}
services_definitions__x:
  a: {command: [/bin/other]}
services_definitions__y: [1]
""",
        payload="x",
    )
    assert host.sent == []
    assert result["failed"] is True
    assert result["changed"] is False
    text = "\n".join(result["problems"])
    for words in (
        "web1: payload: is set by the action plugin",
        "web1: services_defaults.nise: unknown key; did you mean 'nice'?",
        "web1: services_definitions.a.command: \"/bin/a -v\": must be a list: the program, then its arguments; write a list: ['/bin/a', '-v']",
        "web1: services_definitions.a.environment.DEBUG: true: must be text",
        "web1: services_definitions.b.needs[0]: c: no such service",
        "web1: services_definitions.b.secret_environment.KEY: (secret): must be text",
        "web1: services_definitions.t.command[0]: ",
        "web1: services_definitions__x.a: differs from services_definitions.a in command, environment",
        "web1: services_definitions__y: [1]: must be a dictionary",
    ):
        assert words in text
    assert text.count("services_definitions.t.") == 1
    assert "no_such_variable" in text
    assert "hush" not in text
    assert all(line in result["msg"] for line in result["problems"])
    assert result["msg"].startswith(f"{len(result['problems'])} problems in the definitions")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [({"services": ["a"]}, "services"), ({"defaults": "x"}, "defaults"), ({"command_check": "maybe"}, "command_check")],
)
def test_wrong_arguments(host: Host, arguments: dict[str, Any], word: str) -> None:
    result = host.run("", **arguments)
    assert result["failed"]
    assert word in result["msg"]
    assert host.sent == []


def test_a_template_of_the_user(host: Host) -> None:
    (host.folder / "templates").mkdir()
    (host.folder / "templates" / "part.j2").write_text("part\n")
    (host.folder / "templates" / "mine.j2").write_text(
        "#!/bin/sh\n# {{ name }} for {{ inventory_hostname }} on {{ port }}\n{% include 'part.j2' %}\n{{ service.secret_environment }}\n"
        "{% if service.user %}\nexec {{ service.command[0] }} '{{ text }}'\n{% endif %}\n"
    )
    host.run(
        """
port: "{{ 8000 + 80 }}"
text: a\\b
services_definitions: {a: {template: mine.j2, command: ["/bin/{{ 'a' }}"], user: app, secret_environment: {KEY: hush}}}
"""
    )
    assert host.content["services"]["a"]["files"]["run"]["content"] == (
        "#!/bin/sh\n# a for web1 on 8080\npart{'KEY': '(secret)'}\nexec /bin/a 'a\\b'\n"
    )


@pytest.mark.parametrize("text", [None, "{{ nothing }}", "{% if %}", "", "exec /bin/x\n", "#!/bin/sh\r\nexec x\r\n"])
def test_a_template_that_cannot_be_rendered(host: Host, text: str | None) -> None:
    if text is not None:
        (host.folder / "mine.j2").write_bytes(text.encode())
    result = host.run("services_definitions: {a: {template: mine.j2}}")
    assert result["failed"]
    assert "services_definitions.a.template: mine.j2: " in result["msg"]
    assert host.sent == []


def test_in_the_background(host: Host) -> None:
    host.run("services_definitions: {a: {command: [/bin/a]}}", background=60)
    assert host.wrap_async is True


def test_a_relative_log_directory_is_left_to_the_host(host: Host) -> None:
    host.run("services_definitions: {a: {command: [/bin/a]}}", log_directory="~/.holdfast/log")
    assert host.content["services"]["a"]["holdfast"]["log"]["directory"] is None


def test_what_the_module_services_serves_itself_has_all_features() -> None:
    # It says for the other backends alone who else has a feature.
    assert all(BACKENDS[name].capabilities == FEATURES.keys() for name in BACKENDS.keys() - ELSEWHERE.keys())


BEFOREHAND = """
services_defaults: {log: {count: 3}}
services_definitions:
  web: {command: [/usr/bin/web, "--address={{ found_later }}"], nonsense: true}
  app: {command: [/usr/bin/app], needs: [defined_later]}
  one: {command: [/usr/bin/one], needs: [two]}
  two: {command: [/usr/bin/two], needs: [one]}
  late: "{{ found_later }}"
services_definitions__more:
  late: {command: [/usr/bin/late]}
"""


def test_what_is_wrong_is_told_without_a_host(host: Host) -> None:
    host.action = services_check.ActionModule
    assert host.run(VARIABLES) == {"changed": False}
    everything = host.run(BEFOREHAND)
    assert everything["failed"] and not host.sent
    for part in (
        "web1: services_definitions.web.nonsense: ",
        "services_definitions.web.command[1]: ",
        "services_definitions.app.needs[0]: defined_later",
    ):
        assert part in everything["msg"]


def test_what_is_not_known_yet_is_passed_over(host: Host) -> None:
    host.action = services_check.ActionModule
    circle = host.run(BEFOREHAND, known_only=True)
    assert circle["failed"]
    assert circle["msg"].count("web1: ") == 1 and "services_definitions.one.needs: one -> two -> one" in circle["msg"]
    right = BEFOREHAND.replace("needs: [one]", "")
    assert host.run(right, known_only=True) == {"changed": False}
    wrong = host.run(right.replace("needs: [defined_later]", "nonsense: 1"), known_only=True)
    assert wrong["msg"].count("web1: ") == 1 and "services_definitions.app.nonsense: " in wrong["msg"]
    twice = host.run(f"{right}  app: {{command: [/usr/bin/other]}}\n", known_only=True)
    assert "services_definitions__more.app: differs from services_definitions.app in command, needs" in twice["msg"]
    # Whatever is under every definition may be what is missing in each.
    unknown = BEFOREHAND.replace("{count: 3}", "{count: '{{ found_later }}'}").replace("needs: [one]", "nonsense: 1")
    assert host.run(unknown, known_only=True) == {"changed": False}
    # Nor is what a part of it leaves without a value.
    for variable in (
        "services_defaults: {limits: {nofile: [1024, '{{ found_later }}']}}",
        "leases_parameters: {endpoints: ['https://{{ found_later }}:2379']}",
    ):
        assert host.run(variable, known_only=True) == {"changed": False}, variable
    assert not host.sent


def test_what_is_wrong_with_the_defaults_is_told_beforehand(host: Host) -> None:
    host.action = services_check.ActionModule
    told = host.run("services_defaults: {environment: {1ST: x}}", known_only=True)
    assert told["failed"] and "web1: services_defaults.environment.1ST: " in told["msg"]


@pytest.mark.parametrize(
    ("variables", "prune", "warned"),
    [
        ("helper_operations: {mtu: {}}", True, True),
        ("helper_operations: {mtu: {}}", False, False),
        (
            "{helper_operations: {mtu: {}}, services_definitions__helper: {helper: {command: [/bin/helper]}}}",
            True,
            False,
        ),
        ("helper_operations: {}", True, False),
    ],
)
def test_a_helper_that_would_be_removed_unnoticed_is_warned_of(
    host: Host, monkeypatch: pytest.MonkeyPatch, variables: str, prune: bool, warned: bool
) -> None:
    """With --start-at-task, or a play of the role services alone, nobody has defined it."""
    told: list[str] = []
    monkeypatch.setattr(Display, "warning", lambda _self, text, **_more: told.append(text))
    host.run(variables, prune=prune)
    assert [text for text in told if "helper_operations" in text and "web1" in text] == told
    assert bool(told) == warned
