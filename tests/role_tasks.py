# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof of the role `leases` for hosts on which no Ansible can run: its tasks as they stand, done elsewhere, judged here.

Ansible takes an emulated machine half a minute to start. So the role's files are read here, what their tasks give to modules
is made for all hosts in advance (it depends on no result but the name of a host), and what would fail is asked afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from jinja2 import pass_context
from jinja2.filters import FILTERS
from jinja2.nativetypes import NativeEnvironment

COLLECTION = Path(__file__).resolve().parents[1]
ROLE = COLLECTION / "roles" / "leases"
FAIL = "ansible.builtin.fail"
#: What modules are asked for, by the names that they have in tasks.
MODULES = {
    "holdfast.supervision.lease": "lease",
    "holdfast.supervision.lease_info": "lease_info",
    "ansible.builtin.find": "find",
    "ansible.builtin.copy": "copy",
}
Task = dict[str, Any]


def _list_of(name: str) -> Any:
    """A filter of Jinja that gives a list, as with Ansible."""

    @pass_context
    def listed(context: Any, *arguments: Any, **named: Any) -> list[Any]:
        return list(FILTERS[name](context, *arguments, **named))

    return listed


def _read(name: str) -> list[Task]:
    return list(yaml.safe_load((ROLE / "tasks" / name).read_text()))


def defaults(module: str) -> dict[str, Any]:
    """The options of one of our modules, as they are if a task does not name them."""
    text = (COLLECTION / "plugins" / "modules" / f"{module}.py").read_text()
    documentation = re.search(r'DOCUMENTATION = r"""(.*?)"""', text, re.DOTALL)
    assert documentation is not None
    options = yaml.safe_load(documentation[1])["options"]
    return {name: {} if name == "parameters" else one.get("default") for name, one in options.items()}


class Proof:
    """The role's proof for *hosts*, each of which contends with the one before it. variables: the role's."""

    def __init__(self, hosts: list[str], **variables: Any) -> None:
        self._environment = NativeEnvironment()
        self._environment.tests["match"] = lambda text, pattern: re.match(pattern, text) is not None
        self._environment.filters.update({name: _list_of(name) for name in ("map", "select")})
        self._environment.filters["regex_replace"] = lambda text, old, new: re.sub(old, new, text)
        self._hosts = hosts
        shared = {**yaml.safe_load((ROLE / "defaults" / "main.yml").read_text()), **variables}
        self._facts: dict[str, dict[str, Any]] = {}
        for at, host in enumerate(hosts):
            known = {
                "inventory_hostname": host,
                "__leases_run": "role leases, run machine",
                "__leases_peer": hosts[at - 1],
            }
            # What is foretold of a result.
            look = {"probe": {"host": host, "facts": {}}}
            self._facts[host] = {**shared, **known, "__leases_look": look, "ansible_check_mode": False}
        for task in self._all():
            own = task.get("ansible.builtin.set_fact", {}).get("__leases_own")
            for facts in self._facts.values() if own else ():
                facts["__leases_own"] = self._render(own, facts)
        #: For each task of a module: its name, its module, and what each host gives it.
        self.tasks = [one for task in self._all() for one in self._module(task)]

    def _all(self) -> Iterator[Task]:
        yield from self._flat(_read("prove.yml"), {}, {})

    def _flat(self, tasks: list[Task], variables: Task, given: Task) -> Iterator[Task]:
        """All tasks in their order, those of blocks and other files among them, with what those have for all."""
        for task in tasks:
            known = {**variables, **task.get("vars", {})}
            common = {**given, **task.get("module_defaults", {})}
            for part in ("block", "always"):
                yield from self._flat(task.get(part, []), known, common)
            if "ansible.builtin.include_tasks" in task:
                yield from self._flat(_read(task["ansible.builtin.include_tasks"]), known, common)
            yield {**task, "vars": known, "module_defaults": common}

    def _module(self, task: Task) -> Iterator[Task]:
        name = next((name for name in MODULES if name in task), "")
        if not name:
            return
        given = {**task["module_defaults"].get(name, {}), **task[name]}
        every = defaults(MODULES[name]) if name.startswith("holdfast.") else {}
        for item in task.get("loop", [None]):
            options = {}
            for host in self._hosts:
                facts = self._known(host, task)
                if item is not None:
                    facts["item"] = {key: self._render(value, facts) for key, value in item.items()}
                options[host] = {**every, **{key: self._render(value, facts) for key, value in given.items()}}
                for number in {"wait", "ttl"} & options[host].keys():
                    options[host][number] = float(options[host][number])
            yield {"name": task["name"], "module": MODULES[name], "register": task.get("register"), "options": options}

    def _known(self, host: str, task: Task) -> dict[str, Any]:
        facts = {**self._facts[host], "hostvars": self._facts}
        for name, value in task["vars"].items():
            facts[name] = self._render(value, facts)
        return facts

    def _render(self, value: Any, facts: dict[str, Any]) -> Any:
        return self._environment.from_string(value).render(facts) if isinstance(value, str) else value

    def failures(self, results: list[dict[str, dict[str, Any]]]) -> list[str]:
        """Give what fails of the role. results: by host, in the order of `tasks`."""
        found = []
        for task, result in zip(self.tasks, results, strict=True):
            for host in self._hosts:
                if task["register"]:
                    self._facts[host][task["register"]] = result[host]
                # The one that has to be refused says so by its own check.
                if result[host].get("failed") and task["register"] != "__leases_second":
                    found.append(f"{host}: {task['name']}: {result[host]['msg']}")
        for host, facts in self._facts.items():
            names = [one["__leases_look"]["probe"] for one in self._facts.values()]
            facts["__leases_machine_ids"] = [one["machine_id"] + one["host"] for one in names]
            facts["__leases_host_names"] = [one["host"] for one in names]
            facts["__leases_where"] = f"{host}: leases_driver=file"
        for task in self._all():
            if FAIL not in task or "when" not in task:
                continue
            conditions = task["when"] if isinstance(task["when"], list) else [task["when"]]
            for host in self._hosts:
                facts = self._known(host, task)
                if all(self._environment.compile_expression(one)(**facts) for one in conditions):
                    found.append(f"{host}: {task['name']}: {self._render(task[FAIL]['msg'], facts)}")
        return found
