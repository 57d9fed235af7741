# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the driver can be told, and what is wrong with it. PRIVATE to the collection."""

from __future__ import annotations

import os
import stat

from ..given import number
from ..interface import DriverRefused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..._lean.tls import Context

NAMES = frozenset(
    ("endpoints", "ttl", "prefix", "ca_file", "cert_file", "key_file", "user", "password_file", "preference")
    + ("fail_back", "early_revoke")
)
#: Seconds. etcd makes at least one and a half election timeouts of it; beneath 2 s the deadlines are too near.
SHORTEST, LONGEST = 2.0, 3600.0
_DIGITS = frozenset("0123456789")
_IN_NAMES = _DIGITS.union("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._-")
_IN_BRACKETS = _DIGITS.union("ABCDEFabcdef:.")
_WAIT = ("wait", "ignore")


class Endpoint:
    """One member's address."""

    __slots__ = ("host", "port", "tls")

    def __init__(self, text: str) -> None:
        scheme, _colon, rest = text.partition("://")
        rest = rest.removesuffix("/")
        if rest.startswith("["):
            self.host, _bracket, rest = rest[1:].partition("]")
            known = _IN_BRACKETS
        else:
            self.host, colon, rest = rest.partition(":")
            known, rest = _IN_NAMES, colon + rest
        port = rest.removeprefix(":")
        fits = not rest or (rest != port and 0 < len(port) <= 5 and _DIGITS.issuperset(port))
        if scheme not in ("http", "https") or not self.host or not known.issuperset(self.host) or not fits:
            raise DriverRefused(f"driver etcd: endpoints: {text!r} is not like https://etcd1.example.com:2379")
        self.tls = scheme == "https"
        self.port = int(port or 2379)

    @property
    def loopback(self) -> bool:
        """Say whether it is on this host, where nobody listens in on the way."""
        in_net = self.host.startswith("127.") and _DIGITS.union(".").issuperset(self.host)
        return in_net or self.host in ("localhost", "::1")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


class Parameters:
    """The driver's parameters, checked as far as that is possible without opening anything."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        """Raises DriverRefused."""
        self.endpoints = [Endpoint(text) for text in _words(given.get("endpoints", "http://127.0.0.1:2379"))]
        if not self.endpoints:
            raise DriverRefused("driver etcd: endpoints: at least one is needed")
        self.tls = any(endpoint.tls for endpoint in self.endpoints)
        self.ttl = number("etcd", given, "ttl", 10.0, SHORTEST, LONGEST)
        self.preference = number("etcd", given, "preference", 0.0, 0.0, 100.0)
        #: Seconds after which one in line wishes for what somebody holds who comes after it; 0: never.
        self.fail_back = number("etcd", given, "fail_back", 0.0, 0.0, 86400.0)
        self.prefix = str(given.get("prefix", "/holdfast/leases")).rstrip("/") + "/"
        if not self.prefix.isprintable() or len(self.prefix) > 200:
            raise DriverRefused("driver etcd: prefix: printable, and 200 characters at most")
        self.ca_file = _path(given, "ca_file")
        self.cert_file = _path(given, "cert_file")
        self.key_file = _path(given, "key_file")
        self.password_file = _path(given, "password_file")
        self.user = str(given.get("user", ""))
        self.early_revoke = str(given.get("early_revoke", "wait"))
        if self.early_revoke not in _WAIT:
            raise DriverRefused(f"driver etcd: early_revoke: {self.early_revoke!r} is none of {', '.join(_WAIT)}")
        if bool(self.cert_file) != bool(self.key_file):
            raise DriverRefused("driver etcd: cert_file and key_file belong together")
        if (self.ca_file or self.cert_file) and not self.tls:
            raise DriverRefused("driver etcd: certificates are given, and no endpoint begins with https")
        if bool(self.user) != bool(self.password_file):
            raise DriverRefused("driver etcd: user and password_file belong together")

    def context(self, protocol: str = "") -> Context:
        """Give what TLS needs. protocol: the one that the peer is asked to speak. Raises DriverRefused."""
        # Only here: who speaks without it has no use for it.
        from ..._lean.tls import Context

        try:
            context = Context(self.ca_file, protocol)
            if self.cert_file:
                _private(self.key_file)
                context.identify(self.cert_file, self.key_file)
        except (OSError, ValueError) as error:
            names = ", ".join(filter(None, (self.ca_file, self.cert_file, self.key_file)))
            raise DriverRefused(f"driver etcd: {names}: {error}") from None
        return context

    def password(self) -> str:
        """Read the password, each time it is needed, so that it can be changed. Raises DriverRefused."""
        try:
            _private(self.password_file)
            with open(self.password_file, encoding="utf-8") as file:
                return file.read(4096).rstrip("\n")
        except (OSError, ValueError) as error:
            raise DriverRefused(f"driver etcd: password_file: {self.password_file}: {error}") from None


def _private(path: str) -> None:
    info = os.stat(path)
    if info.st_uid not in (0, os.geteuid()) or info.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise DriverRefused(f"driver etcd: {path}: others may read or change it; chmod 0600 and chown root cure it")


def _words(given: object) -> list[str]:
    if isinstance(given, str):
        return [word for word in given.replace(",", " ").split() if word]
    if isinstance(given, (list, tuple)) and all(isinstance(word, str) for word in given):
        return list(given)
    raise DriverRefused(f"driver etcd: endpoints: {given!r} is no list of addresses")


def _path(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name, "")
    if not isinstance(value, str) or (value and not os.path.isabs(value)):
        raise DriverRefused(f"driver etcd: {name}: {value!r} is not an absolute path")
    return value
