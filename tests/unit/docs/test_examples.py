# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What README.md, docs, the roles' README and the plugins' EXAMPLES tell to write or to type exists, and is accepted."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.doc_fragments import constructed

from ansible_collections.holdfast.supervision.plugins.module_utils._command import arguments
from ansible_collections.holdfast.supervision.plugins.module_utils._command.exits import CommandError
from ansible_collections.holdfast.supervision.plugins.module_utils._definition import merge, validate
from ansible_collections.holdfast.supervision.plugins.module_utils._helper import schema
from ansible_collections.holdfast.supervision.plugins.plugin_utils.ready import expand

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("roles/*/README.md"))]
OURS = "holdfast.supervision."
#: What is shown as YAML and nobody writes: results.
RESULTS = frozenset({"switched"})
#: Verbs that read their own command line, and the comment of a user, which begins as one does.
ELSEWHERE = frozenset({"guard", "hold", "register", "helper", "supervise", "attend", "log"})


class Example(NamedTuple):
    """A block, and the page that has it."""

    page: str
    text: str


def blocks(*languages: str) -> Iterator[Example]:
    """The fenced blocks of these languages. Those of definitions.md that show one key alone have a test of their own."""
    for page in PAGES:
        for language, text in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE):
            name = str(page.relative_to(ROOT))
            if language in languages and (name != "docs/definitions.md" or re.match(r"(#.*\n)?services_def", text)):
                yield Example(name, text)


def literals(path: Path) -> dict[str, str]:
    """The texts that a plugin, or the class of a fragment, assigns to names."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.targets[0], ast.Name)
        ):
            found[node.targets[0].id] = str(node.value.value)
    return found


def of_plugins() -> Iterator[Example]:
    """The EXAMPLES of all plugins."""
    for path in sorted(ROOT.glob("plugins/*/*.py")):
        text = literals(path).get("EXAMPLES")
        if text:
            yield Example(str(path.relative_to(ROOT)), text)


def title(example: Example) -> str:
    return f"{example.page}-{example.text.strip().splitlines()[0]}"


YAML = [*blocks("yaml"), *of_plugins()]


def known(value: Any) -> bool:
    """Whether it is what it will be: templates are of any type."""
    return not isinstance(value, str) or "{{" not in value


def filled(value: Any) -> Any:
    """A value with a word for each template in it."""
    if isinstance(value, Mapping):
        return {name: filled(one) for name, one in value.items()}
    if isinstance(value, list):
        return [filled(one) for one in value]
    return re.sub(r"\{\{.*?\}\}", "/word", value) if isinstance(value, str) else value


def options_of(kind: str, name: str) -> dict[str, Any]:
    """The options of a plugin, as its documentation tells them."""
    path = ROOT / "plugins" / kind / f"{name}.py"
    assert path.exists(), f"there is no {name}"
    documentation = yaml.safe_load(literals(path)["DOCUMENTATION"])
    options = dict(documentation.get("options") or {})
    for fragment in documentation.get("extends_documentation_fragment", ()):
        if not fragment.startswith(OURS):
            text = constructed.ModuleDocFragment.DOCUMENTATION
        else:
            file, _dot, part = fragment.removeprefix(OURS).partition(".")
            text = literals(ROOT / "plugins" / "doc_fragments" / f"{file}.py")[part.upper() or "DOCUMENTATION"]
        options.update(yaml.safe_load(text).get("options") or {})
    return options


def wrong(options: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """What an argument spec finds wrong with arguments. A template may be anything, so only its name counts."""
    spec = {
        name: {key: option[key] for key in ("type", "choices", "elements", "required", "aliases") if key in option}
        for name, option in options.items()
    }
    for name, value in given.items():
        if name in spec and not known(value):
            spec[name] = {"type": "raw"}
    validator: Any = ArgumentSpecValidator(spec)
    found: list[str] = validator.validate(dict(given)).error_messages
    return found


def variables_of_roles() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text())["argument_specs"].values():
            found.update(entry.get("options") or {})
    return found


def tasks(documents: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """All tasks of plays, tasks and blocks."""
    for one in documents:
        inner = [name for name in ("tasks", "pre_tasks", "post_tasks", "block", "rescue", "always") if name in one]
        for name in inner:
            yield from tasks(one[name])
        if not inner and "hosts" not in one:
            yield one


def check_variables(given: Mapping[str, Any], text: str) -> None:
    """Variables of an inventory: roles have them, and what is in them is accepted."""
    specs = variables_of_roles()
    for name, value in given.items():
        if merge.variable_names([name]) or name == "services_defaults":
            continue
        if name not in specs:
            assert re.search(r"\{\{[^}]*\b" + name + r"\b", text), f"no role has the variable {name}"
        elif known(value):
            assert not wrong({name: specs[name]}, {name: value})
    merged = merge.merge(given)
    assert not merged.problems
    _defaults, problems = validate.read_defaults(given.get("services_defaults") or {}, "services_defaults")
    assert not problems
    leases = {name: given[name] for name in validate.LEASE_VARIABLES if name in given}
    if all(known(value) for value in (leases.get("leases_parameters") or {}).values()):
        assert not validate.read_lease_defaults(leases)[1]
    check_definitions(merged.definitions, given.get("services_defaults"))
    if "helper_operations" in given:
        check_operations(given["helper_operations"])


def check_definitions(definitions: Mapping[str, Any], defaults: Any = None) -> None:
    for name, definition in definitions.items():
        assert not validate.problems(name, merge.under(defaults or {}, filled(definition)), "example")


def check_operations(operations: dict[str, Any]) -> None:
    document = {
        "format": schema.FORMAT,
        "socket": "/run/socket",
        "state_directory": "/run/state",
        "jobs_directory": "/var/lib/jobs",
        "guards": ["/run/holdfast/guards"],
        "services": {"manager": "embedded", "scan_directory": "/etc/holdfast/services"},
        "operations": expand(operations, "/usr/local/bin/holdfast", "/etc/holdfast/services"),
    }
    assert not schema.problems(document)


@pytest.mark.parametrize("example", YAML, ids=map(title, YAML))
def test_what_is_to_be_written_is_accepted(example: Example) -> None:
    found = yaml.safe_load(example.text)
    if isinstance(found, list):
        for play in found:
            for role in play.get("roles", ()):
                name = role if isinstance(role, str) else role["role"]
                assert not name.startswith(OURS) or (ROOT / "roles" / name.removeprefix(OURS)).is_dir(), name
        for task in tasks(found):
            for action in (name for name in task if name.startswith(OURS)):
                given = task[action] or {}
                assert not wrong(options_of("modules", action.removeprefix(OURS)), given)
                check_definitions(given.get("services", {}))
            check_variables(task.get("vars", {}), example.text)
    elif "plugin" in found:
        options = options_of("inventory", found["plugin"].removeprefix(OURS))
        assert not wrong(options, found)
    elif not RESULTS & set(found):
        check_variables(found, example.text)


def commands() -> Iterator[Example]:
    """The commands `holdfast …` of blocks and of lines; those with a placeholder in capitals or … have nothing to be parsed."""
    for page in PAGES:
        text = page.read_text("utf-8")
        name = str(page.relative_to(ROOT))
        found = [
            line
            for _language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
            for line in block.splitlines()
        ]
        outside = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
        found += [one.replace("\n", " ") for one in re.findall(r"`([^`]+)`", outside)]
        for line in found:
            words = line.removeprefix("$ ").removeprefix("# ")
            if words.startswith("holdfast ") and not re.search(r"[…\[|]", words):
                yield Example(name, words)


COMMANDS = sorted(set(commands()))


@pytest.mark.parametrize("example", COMMANDS, ids=map(title, COMMANDS))
def test_what_is_to_be_typed_is_understood(example: Example) -> None:
    words = shlex.split(example.text, comments=True)[1:]
    verb = next(word for word in words if not word.startswith("-"))
    if verb in ELSEWHERE:
        return
    try:
        assert arguments.parse(words).verb == verb
    except CommandError as error:
        # The name of a verb, or of one of its options, says nothing of what that wants beside it.
        assert "what?" in str(error) or "are required" in str(error)
