# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Users of an etcd: root, and one who may touch what leases are made of and nothing else. PRIVATE to the collection.

https://etcd.io/docs/v3.4/op-guide/authentication/: the user root with the role root has to be there before authentication
can be enabled, and from then on nobody without a user gets anything.
"""

from __future__ import annotations

from ..interface import DriverRefused, LeaseError, StoreUnavailable
from . import http
from .client import Client, EtcdError, text64
from .parameters import Parameters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

ROOT = "root"
#: Seconds for one question: etcd computes a hash for each password.
_QUESTION = 10.0


class Users:
    """The users of one etcd. given: the driver's parameters but for the user. root_file: the file with root's password."""

    def __init__(self, given: Mapping[str, Any], root_file: str) -> None:
        """Raises DriverRefused."""
        self._given = dict(given)
        self._root_file = root_file
        self._admin = Client(Parameters({**given, "user": ROOT, "password_file": root_file}))
        self._enabled = True
        self.done: list[str] = []

    def converge(self, user: str, password_file: str, check_mode: bool) -> None:
        """Let *user* be the one whose leases are below the prefix; `done` tells what had to be changed.

        Raises LeaseError: what was done before it is done; may be repeated.
        """
        if user == ROOT:
            raise DriverRefused("user: root may do everything; the leases need a user of their own")
        try:
            users = self._list("user", "users")
            roles = self._list("role", "roles")
            self._root(users, roles, check_mode)
            self._role(user, roles, check_mode)
            self._user(user, password_file, users, check_mode)
            if not self._enabled:
                self._do("enable authentication", check_mode, "/v3/auth/enable", {})
        except EtcdError as error:
            raise LeaseError(f"etcd: {error}") from None

    def _list(self, what: str, key: str) -> list[str]:
        try:
            return list(self._call(f"/v3/auth/{what}/list", {}).get(key) or ())
        except DriverRefused as error:
            if "not enabled" in str(error):
                self._admin.close()
                self._admin = Client(Parameters(self._given))
                self._enabled = False
                return self._list(what, key)
            raise DriverRefused(
                f"{error}. Is what {self._root_file} has the password that etcd knows? It is changed there by: etcdctl user passwd root"
            ) from None

    def _root(self, users: list[str], roles: list[str], check_mode: bool) -> None:
        if self._enabled:
            # Or we would not be here.
            return
        password = Parameters({**self._given, "user": ROOT, "password_file": self._root_file}).password()
        if ROOT not in roles:
            self._do("add the role root", check_mode, "/v3/auth/role/add", {"name": ROOT})
        # Nobody has had to know it so far, so that nobody can tell whether it is the one.
        self._set_password(ROOT, password, ROOT in users, check_mode)
        self._grant(ROOT, ROOT, ROOT in users, check_mode)

    def _role(self, name: str, roles: list[str], check_mode: bool) -> None:
        prefix = Parameters(self._given).prefix
        # All keys that begin with it: up to the first that does not.
        wanted = {"permType": "READWRITE", "key": text64(prefix), "range_end": text64(prefix[:-1] + "0")}
        found: list[dict[str, Any]] = []
        if name in roles:
            found = self._call("/v3/auth/role/get", {"role": name}).get("perm") or []
        else:
            self._do(f"add the role {name}", check_mode, "/v3/auth/role/add", {"name": name})
        if wanted not in found:
            self._do(f"let {name} use {prefix}", check_mode, "/v3/auth/role/grant", {"name": name, "perm": wanted})
        for perm in found:
            if perm != wanted:
                former = {"role": name, "key": perm.get("key", ""), "range_end": perm.get("range_end", "")}
                self._do(f"let {name} use nothing else", check_mode, "/v3/auth/role/revoke", former)

    def _user(self, name: str, password_file: str, users: list[str], check_mode: bool) -> None:
        parameters = Parameters({**self._given, "user": name, "password_file": password_file})
        if not (self._enabled and name in users and self._gets_in(parameters)):
            self._set_password(name, parameters.password(), name in users, check_mode)
        self._grant(name, name, name in users, check_mode)

    def _gets_in(self, parameters: Parameters) -> bool:
        client = Client(parameters)
        try:
            client.call("/v3/kv/range", {"key": text64(parameters.prefix)}, http.now() + _QUESTION)
            return True
        except DriverRefused:
            return False
        except EtcdError:
            # He is known, and may not do that yet.
            return True
        finally:
            client.close()

    def _set_password(self, name: str, password: str, there: bool, check_mode: bool) -> None:
        if not password:
            raise DriverRefused(f"the password of {name} is empty")
        if there:
            self._do(
                f"set the password of {name}",
                check_mode,
                "/v3/auth/user/changepw",
                {"name": name, "password": password},
            )
        else:
            self._do(f"add the user {name}", check_mode, "/v3/auth/user/add", {"name": name, "password": password})

    def _grant(self, user: str, role: str, there: bool, check_mode: bool) -> None:
        has = self._call("/v3/auth/user/get", {"name": user}).get("roles") or [] if there else []
        if role not in has:
            self._do(f"give {user} the role {role}", check_mode, "/v3/auth/user/grant", {"user": user, "role": role})

    def _do(self, what: str, check_mode: bool, path: str, request: dict[str, Any]) -> None:
        self.done.append(what)
        if not check_mode:
            self._call(path, request)

    def _call(self, path: str, request: dict[str, Any]) -> dict[str, Any]:
        return self._admin.call(path, request, http.now() + _QUESTION)

    def close(self) -> None:
        """Close the connection."""
        self._admin.close()


def etcd_users(options: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Do the task of the module etcd_users."""
    given = {
        name: options[name] for name in ("endpoints", "ca_file", "cert_file", "key_file", "prefix") if options[name]
    }
    users = None
    try:
        users = Users(given, options["root_password_file"])
        users.converge(options["user"], options["password_file"], check_mode)
    except StoreUnavailable as error:
        return {"failed": True, "msg": f"etcd does not answer: {error}", "actions": users.done if users else []}
    except LeaseError as error:
        return {"failed": True, "msg": str(error), "actions": users.done if users else []}
    finally:
        if users is not None:
            users.close()
    return {"changed": bool(users.done), "actions": users.done}
