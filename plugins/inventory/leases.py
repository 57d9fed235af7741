# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Live hosts and lease holders as inventory."""

from __future__ import annotations

DOCUMENTATION = r"""
name: leases
short_description: Hosts that are alive, and who holds which lease
version_added: 0.1.0
author:
  - The holdfast.supervision authors (@holdfast)
description:
  - Each host that runs C(holdfast register) holds a lease on its own name. This plugin makes a host of each of them, for as long
    as the lease lives, and puts the host that holds a resource into a group of that resource.
  - The file's name has to end in C(holdfast.yml) or C(holdfast.yaml).
  - Whoever may write to the store decides what is in this inventory. Keep it to those who may change your inventory otherwise too.
extends_documentation_fragment:
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
options:
  plugin:
    description: The name of this plugin.
    type: str
    required: true
    choices: [holdfast.supervision.leases]
  driver:
    description:
      - Who keeps the leases. V(file) is a directory of the controller itself, or with O(scope=hosts) one on NFS.
      - Or the driver of another collection, as C(namespace.collection.driver). Its collection has to be on the controller, and it
        has to keep notes, which is what hosts say of themselves with. So V(sanlock) is none of them.
    type: str
    default: etcd
    env:
      - name: HOLDFAST_LEASES_DRIVER
  parameters:
    description: What a driver of another collection is told. For V(etcd) and V(file) there are the other options.
    type: dict
    default: {}
  endpoints:
    description: The addresses of the members of the etcd cluster.
    type: list
    elements: str
    default: [http://127.0.0.1:2379]
    env:
      - name: HOLDFAST_ETCD_ENDPOINTS
  prefix:
    description: Beneath which key of etcd the leases are.
    type: str
    default: /holdfast/leases
    env:
      - name: HOLDFAST_ETCD_PREFIX
  ca_file:
    description: The certificates of those who sign the certificates of the members.
    type: path
    env:
      - name: HOLDFAST_ETCD_CA_FILE
  cert_file:
    description: The certificate that the controller shows.
    type: path
    env:
      - name: HOLDFAST_ETCD_CERT_FILE
  key_file:
    description: The key of O(cert_file). Nobody else may read it.
    type: path
    env:
      - name: HOLDFAST_ETCD_KEY_FILE
  user:
    description: The user of etcd.
    type: str
    env:
      - name: HOLDFAST_ETCD_USER
  password_file:
    description: The file that has the password of O(user). Nobody else may read it.
    type: path
    env:
      - name: HOLDFAST_ETCD_PASSWORD_FILE
  directory:
    description: Where the driver V(file) has its locks.
    type: path
    env:
      - name: HOLDFAST_LEASES_DIRECTORY
  scope:
    description:
      - Whose leases the driver V(file) keeps, those of one V(host), or of several V(hosts) that have mounted O(directory) by NFS.
    type: str
    choices: [host, hosts]
    default: host
    env:
      - name: HOLDFAST_LEASES_SCOPE
  group:
    description: The group of all hosts that are alive.
    type: str
    default: holdfast_live
  holder_prefix:
    description: What the names of the groups of holders begin with. The name of the resource follows.
    type: str
    default: holder_
  connection_variables:
    description:
      - The variables with names that begin with C(ansible_) that a host may set for itself when it registers.
    type: list
    elements: str
    default: [ansible_host, ansible_port, ansible_user]
notes:
  - Each host has C(holdfast_host), its node name, C(holdfast_since) and C(holdfast_token) of its registration, and
    C(holdfast_leases), a list of what its services hold, each with C(name), C(owner), C(mode), C(token) and C(since).
  - An answer is as old as its reading. What must not be wrong is decided by a lease or its token, not by an inventory.
"""

EXAMPLES = r"""
# holdfast.yml
plugin: holdfast.supervision.leases
endpoints:
  - https://etcd1.example.com:2379
  - https://etcd2.example.com:2379
ca_file: /etc/holdfast/etcd-ca.pem
keyed_groups:
  # web, db, …: what the host said with `holdfast register --note role=web`
  - key: role
    separator: ""
groups:
  # All that hold something.
  active: holdfast_leases | length > 0
compose:
  leases_held: holdfast_leases | map(attribute='name') | list
"""

import re
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.module_utils.common.text.converters import to_text
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable

from ansible_collections.holdfast.supervision.plugins.module_utils._definition.problem import nearest
from ansible_collections.holdfast.supervision.plugins.module_utils._lease import drivers
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.interface import (
    NOTE,
    DriverRefused,
    LeaseError,
)

#: What the resource of a host's registration begins with.
HOST = "host:"
_OPTIONS = {
    "etcd": ("endpoints", "prefix", "ca_file", "cert_file", "key_file", "user", "password_file"),
    "file": ("directory", "scope"),
}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """Reads a store of leases."""

    NAME = "holdfast.supervision.leases"

    def verify_file(self, path: str) -> bool:
        """Say whether *path* may be ours."""
        return super().verify_file(path) and path.endswith(("holdfast.yml", "holdfast.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Fill *inventory*. Raises AnsibleParserError if the store cannot be read: no inventory is better than half of one."""
        super().parse(inventory, loader, path, cache)
        self._refuse_unknown(path, self._read_config_data(path))
        key = self.get_cache_key(path)
        cached = self.get_option("cache")
        found = None
        if cached and cache:
            try:
                found = self._cache[key]
            except KeyError:
                found = None
        if found is None:
            found = self._ask(path)
            if cached:
                self._cache[key] = found
        self._fill(found)

    def _refuse_unknown(self, path: str, given: Any) -> None:
        """Refuse an option that there is none of: without what was meant, another store would be asked than was meant."""
        known = self.option_definitions
        wrong = [f"{name}: unknown option; {nearest(str(name), known)}" for name in given if name not in known]
        if wrong:
            raise AnsibleParserError(f"{path}: " + "; ".join(one.removesuffix("; ") for one in wrong))

    def _parameters(self, path: str, driver: str) -> dict[str, Any]:
        """Give what the driver is told. Raises AnsibleParserError."""
        given = self.get_option("parameters")
        if drivers.FOREIGN_NAME(driver):
            return dict(given)
        if driver not in _OPTIONS:
            raise AnsibleParserError(
                f"{path}: driver: {driver}: is not for inventories, which need notes beside what is held; these are: "
                f"{', '.join(_OPTIONS)}, and namespace.collection.driver if that keeps notes"
            )
        if given:
            raise AnsibleParserError(
                f"{path}: parameters: means nothing to driver {driver}, which has options of its own"
            )
        parameters = {name: self.get_option(name) for name in _OPTIONS[driver]}
        return {name: value for name, value in parameters.items() if value not in (None, "")}

    def _ask(self, path: str) -> list[dict[str, Any]]:
        driver = self.get_option("driver")
        parameters = self._parameters(path, driver)
        try:
            made = drivers.make(driver, "inventory", parameters)
            if NOTE not in made.capabilities:
                raise DriverRefused(f"driver {driver} keeps no notes, so that hosts cannot say anything of themselves")
            try:
                holders = made.all_owners()
            finally:
                made.free()
        except LeaseError as error:
            raise AnsibleParserError(f"{path}: {to_text(error)}") from error
        return [
            {
                "resource": one.resource,
                "owner": str(one.note.get("owner") or one.name),
                "host": one.host,
                "mode": one.mode,
                "token": one.token,
                "since": one.since,
                "vars": one.note.get("vars") if isinstance(one.note.get("vars"), dict) else {},
            }
            for one in holders
        ]

    def _fill(self, found: list[dict[str, Any]]) -> None:
        everybody = self.inventory.add_group(self._sanitize_group_name(self.get_option("group")))
        names: dict[str, str] = {}
        held: dict[str, list[dict[str, Any]]] = {}
        for one in sorted(found, key=lambda one: (one["resource"], one["token"])):
            if one["resource"].startswith(HOST):
                name = one["resource"][len(HOST) :]
                names[one["host"]] = name
                self.inventory.add_host(name, group=everybody)
                self._variables(name, one)
            else:
                held.setdefault(one["host"], []).append(one)
        for host, name in names.items():
            leases = held.get(host, [])
            told = [{"name": one["resource"], **{key: one[key] for key in _TOLD}} for one in leases]
            self.inventory.set_variable(name, "holdfast_leases", told)
            for one in leases:
                group = self._sanitize_group_name(self.get_option("holder_prefix") + one["resource"])
                self.inventory.add_host(name, group=self.inventory.add_group(group))
        for name in sorted(names.values()):
            variables = self.inventory.get_host(name).get_vars()
            strict = self.get_option("strict")
            self._set_composite_vars(self.get_option("compose"), variables, name, strict)
            variables = self.inventory.get_host(name).get_vars()
            self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict)
            self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict)

    def _variables(self, name: str, one: dict[str, Any]) -> None:
        allowed = self.get_option("connection_variables")
        for key, value in sorted(one["vars"].items()):
            if _VARIABLE(key) and (not key.startswith("ansible_") or key in allowed):
                self.inventory.set_variable(name, key, value)
            else:
                self.display.warning(f"{name}: variable {key} is not taken over; see connection_variables")
        for key, value in (("host", one["host"]), ("since", one["since"]), ("token", one["token"])):
            self.inventory.set_variable(name, f"holdfast_{key}", value)


_TOLD = ("owner", "mode", "token", "since")
