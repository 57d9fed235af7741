# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lease drivers of other collections, made ready for the runtime on the controller. PRIVATE to the collection.

The runtime imports nothing of the host but the standard library. So what a driver consists of goes into it: the module, and
what that imports of its own collection's module_utils. There is no `ansible_collections` on the host; what is imported by
that name becomes relative. Everything else but the standard library is refused here, by name, before a host has changed.
"""

from __future__ import annotations

import ast
import importlib
import os
import sys
from collections.abc import Iterable

from ansible_collections.holdfast.supervision.plugins.module_utils._lease import drivers
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.interface import LeaseError

#: The public module, as a driver names it, and what there is of it in the runtime.
INTERFACE = "ansible_collections.holdfast.supervision.plugins.module_utils.lease_driver"
_INTERFACE_THERE = "lease_driver"
#: The folder of the runtime, and how deep a module of a collection lies below the runtime's own package.
FOLDER = f"holdfast/{drivers.FOREIGN}"
_DEPTH = 3


class Unshippable(Exception):
    """A driver cannot be part of the runtime; the text names driver, file and cure."""


def files_of(names: Iterable[str]) -> dict[str, bytes]:
    """Give the files of the drivers *names* by their names in the runtime. Raises Unshippable."""
    found: dict[str, bytes] = {}
    for name in sorted(set(names)):
        if not drivers.FOREIGN_NAME(name):
            raise Unshippable(f"{name!r} is no lease driver of a collection: write namespace.collection.driver")
        namespace, collection, module = name.split(".")
        try:
            drivers.look_at(name)
        except LeaseError as error:
            raise Unshippable(str(error)) from None
        for folder in ("", f"/{namespace}", f"/{namespace}/{collection}"):
            found[f"{FOLDER}{folder}/__init__.py"] = b""
        _Collection(name, namespace, collection, found).take(module)
    return found


class _Collection:
    """The module_utils of one collection, as far as a driver needs them."""

    def __init__(self, driver: str, namespace: str, collection: str, found: dict[str, bytes]) -> None:
        self._driver = driver
        self._package = f"ansible_collections.{namespace}.{collection}.plugins.module_utils"
        self._folder = f"{FOLDER}/{namespace}/{collection}"
        self._found = found

    def take(self, module: str) -> None:
        """Take a module, named from module_utils on, with what it imports. Raises Unshippable."""
        parts = module.split(".")
        for at in range(1, len(parts)):
            self._take_file("/".join(parts[:at]) + "/__init__.py")
        path = "/".join(parts)
        if not self._take_file(f"{path}.py") and not self._take_file(f"{path}/__init__.py"):
            raise Unshippable(f"driver {self._driver}: {self._package}.{module} is not there")

    def _take_file(self, path: str) -> bool:
        """Take one file; False if there is none."""
        name = f"{self._folder}/{path}"
        if name in self._found:
            return True
        source = self._read(path)
        if source is None:
            return False
        # Before it is looked at: two modules may import each other.
        self._found[name] = b""
        self._found[name] = self._adapted(path, source).encode()
        return True

    def _read(self, path: str) -> str | None:
        for folder in importlib.import_module(self._package).__path__:
            try:
                with open(os.path.join(folder, path), encoding="utf-8") as file:
                    return file.read()
            except OSError:
                continue
            except UnicodeDecodeError as error:
                raise Unshippable(f"driver {self._driver}: {path} is not UTF-8: {error}") from None
        return None

    def _adapted(self, path: str, source: str) -> str:
        """Give a file with its imports made relative, and take what they lead to."""
        try:
            tree = ast.parse(source)
        except SyntaxError as error:
            raise Unshippable(f"driver {self._driver}: {path}, line {error.lineno}: {error.msg}") from None
        lines = source.splitlines(keepends=True)
        package = path.split("/")[:-1]
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for name in (alias.name for alias in node.names):
                    if name.partition(".")[0] not in sys.stdlib_module_names:
                        self._refuse(path, node.lineno, f"import {name}")
            elif isinstance(node, ast.ImportFrom):
                there = self._lead(path, package, node)
                if there is not None:
                    dots = "." * (len(package) + 1 + (_DEPTH if there == _INTERFACE_THERE else 0))
                    line = lines[node.lineno - 1]
                    before, word, after = line.partition(f"from {node.module}")
                    if not word:
                        self._refuse(path, node.lineno, f"from {node.module}, not in one line,")
                    lines[node.lineno - 1] = f"{before}from {dots}{there}{after}"
        return "".join(lines)

    def _lead(self, path: str, package: list[str], node: ast.ImportFrom) -> str | None:
        """Give what an absolute import is to become, without dots; None if it stays. Takes what is imported."""
        module = node.module or ""
        if node.level:
            if node.level > len(package) + 1:
                self._refuse(path, node.lineno, f"from {'.' * node.level}{module}")
            own = [*package[: len(package) + 1 - node.level], *([module] if module else [])]
        elif module == INTERFACE:
            return _INTERFACE_THERE
        elif module == self._package or module.startswith(f"{self._package}."):
            own = [module[len(self._package) + 1 :]] if module != self._package else []
        elif module.partition(".")[0] in sys.stdlib_module_names:
            return None
        else:
            self._refuse(path, node.lineno, f"from {module}")
        base = ".".join(own)
        if base:
            self.take(base)
        for alias in node.names:
            # What is imported from a package may be a module of it, or a name in it.
            inner = f"{base}.{alias.name}" if base else alias.name
            if self._there(inner):
                self.take(inner)
            elif not base:
                self._refuse(path, node.lineno, f"{alias.name}, which is not there,")
        return None if node.level else base

    def _there(self, module: str) -> bool:
        path = module.replace(".", "/")
        return any(self._read(one) is not None for one in (f"{path}.py", f"{path}/__init__.py"))

    def _refuse(self, path: str, line: int, what: str) -> None:
        raise Unshippable(
            f"driver {self._driver}: {path}, line {line}: {what} cannot be had on a host. A driver may import the standard "
            f"library, {INTERFACE}, and by from … import … what lies in {self._package}"
        )
