# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real etcd clusters on this machine's loopback, what can befall them, and a proxy that loses what it is told to lose."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import procs
from waiting import wait_until

ETCD = shutil.which("etcd")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(socket.socket()) for _unused in range(count)]
        for one in made:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in made]


class Member:
    """One etcd process."""

    def __init__(self, cluster: Cluster, name: str, client: int, peer: int) -> None:
        self.cluster = cluster
        self.name = name
        self.url = f"{cluster.scheme}://127.0.0.1:{client}"
        self.peer_url = f"http://127.0.0.1:{peer}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        cluster = self.cluster
        everybody = ",".join(f"{one.name}={one.peer_url}" for one in cluster.members)
        words = {
            "name": self.name,
            "data-dir": str(cluster.base / self.name),
            "listen-client-urls": self.url,
            "advertise-client-urls": self.url,
            "listen-peer-urls": self.peer_url,
            "initial-advertise-peer-urls": self.peer_url,
            "initial-cluster": everybody,
            "heartbeat-interval": "50",
            "election-timeout": "500",
            **cluster.options,
        }
        with (cluster.base / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                # Whoever kills the test kills etcd.
                ["setpriv", "--pdeathsig", "KILL", str(ETCD), *(f"--{key}={value}" for key, value in words.items())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "GOMAXPROCS": "2"},
            )

    def signal(self, number: int) -> None:
        """Send it a signal; what is stopped does nothing more when this returns."""
        if self.process is not None and number == signal.SIGSTOP:
            procs.stop(self.process.pid)
        elif self.process is not None:
            self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)


class Cluster:
    """A cluster of its own, in memory. options: more of etcd's, such as {"quota-backend-bytes": "…"}."""

    def __init__(self, size: int = 1, options: dict[str, str] | None = None, scheme: str = "http") -> None:
        shared = Path("/dev/shm")
        self.base = Path(tempfile.mkdtemp(prefix="hf-etcd-", dir=shared if shared.is_dir() else None))
        self.options = options or {}
        self.scheme = scheme
        self.context: ssl.SSLContext | None = None
        self.token = ""
        ports = free_ports(2 * size)
        self.members = [Member(self, f"m{at}", ports[2 * at], ports[2 * at + 1]) for at in range(size)]

    def start(self) -> Cluster:
        for member in self.members:
            member.start()
        self.until_serving()
        return self

    def until_serving(self) -> None:
        def serves() -> bool:
            try:
                self.post("/v3/kv/range", {"key": "YQ=="})
            except urllib.error.HTTPError as error:
                return error.code in (400, 401)
            except OSError:
                return False
            return True

        wait_until(serves, message="etcd does not serve")

    @property
    def endpoints(self) -> str:
        return ",".join(member.url for member in self.members)

    def post(self, path: str, body: dict[str, Any], member: int | None = None) -> dict[str, Any]:
        """Call etcd as an operator would; any member that answers, or the one of that number."""
        chosen = self.members if member is None else [self.members[member]]
        for at, one in enumerate(chosen):
            request = urllib.request.Request(one.url + path, json.dumps(body).encode())
            if self.token:
                request.add_header("Authorization", self.token)
            try:
                with urllib.request.urlopen(request, timeout=2, context=self.context) as answer:
                    return dict(json.loads(answer.read()))
            except urllib.error.HTTPError:
                raise
            except OSError:
                if at == len(chosen) - 1:
                    raise
        raise AssertionError("a cluster has members")

    def leases(self) -> list[str]:
        return [str(one["ID"]) for one in self.post("/v3/lease/leases", {}).get("leases") or ()]

    def revoke_all(self) -> None:
        for lease in self.leases():
            with contextlib.suppress(urllib.error.HTTPError):
                self.post("/v3/lease/revoke", {"ID": lease})

    def be_full(self, full: bool) -> None:
        """Have etcd refuse to write, as with a quota that is used up, or not any more."""
        be_full(self.post, full)

    def leader(self) -> Member:
        for at in range(len(self.members)):
            try:
                status = self.post("/v3/maintenance/status", {}, at)
            except OSError:
                continue
            if status.get("leader") == status["header"]["member_id"]:
                return self.members[at]
        raise AssertionError("nobody leads")

    def close(self) -> None:
        for member in self.members:
            member.signal(signal.SIGCONT)
            member.kill()
        shutil.rmtree(self.base, ignore_errors=True)


class Proxy:
    """Stands before one endpoint. mode: pass, hang (nothing goes through), mute (answers don't), cut (the answer ends it).

    delay: seconds by which answers are late. losing: how many connections lose the next answer, and all after it. began: what each
    connection began with. old: speaks HTTP/1 and nothing else.
    """

    def __init__(self, target: str, address: str = "127.0.0.1") -> None:
        host, _colon, port = target.rpartition("/")[2].partition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server((address, 0))
        self.url = f"http://{address}:{self._listener.getsockname()[1]}"
        self.mode = "pass"
        self.delay = 0.0
        self.losing = 0
        self.began: list[bytes] = []
        self.old = False
        self._open: set[socket.socket] = set()
        self._ended = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self._ended:
            near = None
            try:
                near, _address = self._listener.accept()
                far = socket.create_connection(self._target, 5)
            except OSError:
                if near is not None:
                    near.close()
                if self._ended:
                    return
                continue
            self._open |= {near, far}
            threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        begun = mute = False
        try:
            while True:
                ready = select.select([near, far], [], [], 0.05)[0]
                if self.mode == "hang":
                    time.sleep(0.01)
                    continue
                for one in ready:
                    if one is far and self.delay:
                        # Before it is read: what follows at once is as late, and no later.
                        time.sleep(self.delay)
                    data = one.recv(65536)
                    if not data or (one is far and self.mode == "cut"):
                        return
                    if one is near and not begun:
                        begun = True
                        self.began.append(data[:4])
                        if self.old and data.startswith(b"PRI "):
                            near.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                            return
                    if one is far and self.losing and not mute:
                        mute = True
                        self.losing -= 1
                    if one is far and (mute or self.mode == "mute"):
                        continue
                    (near if one is far else far).sendall(data)
        except (OSError, ValueError):
            pass
        finally:
            for one in (near, far):
                one.close()
                self._open.discard(one)

    def close(self) -> None:
        self._ended = True
        self._listener.close()
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def be_full(post: Callable[[str, dict[str, Any]], dict[str, Any]], full: bool) -> None:
    """Raise the alarm that etcd raises when its quota is used up, or take back all alarms. post: calls it."""
    if full:
        alarms = [{"memberID": post("/v3/maintenance/status", {})["header"]["member_id"], "alarm": "NOSPACE"}]
    else:
        alarms = post("/v3/maintenance/alarm", {"action": "GET"}).get("alarms", [])
    for alarm in alarms:
        post("/v3/maintenance/alarm", {**alarm, "action": "ACTIVATE" if full else "DEACTIVATE"})


def certificates(folder: Path) -> None:
    """Make a CA, a server for 127.0.0.1, and a client; neither has a CN, which the gateway would take for a user."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], check=True, cwd=folder, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test", "-days", "2")
    for name in ("server", "client"):
        openssl("req", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", "/O=holdfast")
        (folder / "ext").write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signed)
        (folder / f"{name}.key").chmod(0o600)


def secured_cluster(folder: Path, prefix: str) -> Cluster:
    """An etcd that wants certificates and passwords, with a user who may touch what begins with *prefix*/ only.

    What he needs is in *folder*, as certificates makes it, with his password.
    """
    certificates(folder)
    pki = {"cert-file": "server.pem", "key-file": "server.key", "trusted-ca-file": "ca.pem"}
    options = {name: str(folder / file) for name, file in pki.items()}
    cluster = Cluster(options={**options, "client-cert-auth": "true", "bcrypt-cost": "4"}, scheme="https")
    cluster.context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    cluster.context.load_cert_chain(str(folder / "client.pem"), str(folder / "client.key"))
    cluster.start()
    for user, role in (("root", "root"), ("guard", "leases")):
        cluster.post("/v3/auth/user/add", {"name": user, "password": f"{user}-geheim"})
        cluster.post("/v3/auth/role/add", {"name": role})
        cluster.post("/v3/auth/user/grant", {"user": user, "role": role})
    # All that begins with a name and "/" ends before that name and "0".
    limits = {"key": f"{prefix}/", "range_end": f"{prefix}0"}
    ours = {name: base64.b64encode(key.encode()).decode() for name, key in limits.items()}
    cluster.post("/v3/auth/role/grant", {"name": "leases", "perm": {"permType": "READWRITE", **ours}})
    cluster.post("/v3/auth/enable", {})
    (folder / "password").write_text("guard-geheim\n")
    (folder / "password").chmod(0o600)
    return cluster
