# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TLS without Python's module for it trusts nobody whom that would not trust."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._lean import tls

#: Far more than one record, and than a socket takes at a time.
MUCH = b"0123456789" * 200_000


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of a CA for localhost and 127.0.0.1, of another CA, and of a client."""
    folder = tmp_path_factory.mktemp("pki")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], check=True, cwd=folder, capture_output=True)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for name in ("ca", "other"):
        usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        openssl("req", "-x509", *curve, *usage, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
    names = folder / "names"
    names.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nauthorityKeyIdentifier=keyid\n")
    for name in ("server", "client"):
        openssl("req", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", "/O=holdfast")
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", str(names)]
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signed)
    return folder


class Echo:
    """A server that says once what it was told, and ends. told: what it was told; cut: whether it ends without a word."""

    def __init__(self, pki: Path, cut: bool = False) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pki / "server.pem", pki / "server.key")
        self.context.load_verify_locations(pki / "ca.pem")
        self.context.verify_mode = ssl.CERT_OPTIONAL
        self.context.set_alpn_protocols(["h2"])
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.told = b""
        self.known = False
        self.cut = cut
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        try:
            connected, _address = self.listener.accept()
            with self.context.wrap_socket(connected, server_side=True) as one:
                self.known = bool(one.getpeercert())
                while len(self.told) < len(MUCH):
                    piece = one.recv(65536)
                    if not piece:
                        break
                    self.told += piece
                one.sendall(self.told)
                if not self.cut:
                    one.unwrap()
        except OSError:
            pass

    def speak(self, context: tls.Context, host: str) -> tuple[bytes, str]:
        """Tell it much, as to *host*; give what it says until its end, and the protocol. Raises OSError."""
        one = context.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            one.settimeout(30)
            one.connect(self.listener.getsockname())
            one.begin(host)
            one.sendall(MUCH)
            heard = b""
            while piece := one.recv(65536):
                heard += piece
            return heard, one.protocol()
        finally:
            one.close()
            self.listener.close()
            self.thread.join(30)


@pytest.mark.parametrize("protocol", ["", "h2"])
def test_settings_are_those_of_pythons_own_module(pki: Path, protocol: str) -> None:
    ours = tls.Context(str(pki / "ca.pem"), protocol)._made
    theirs = ssl.create_default_context(cafile=str(pki / "ca.pem"))
    theirs.minimum_version = ssl.TLSVersion.TLSv1_2
    for name in ("verify_mode", "check_hostname", "options", "verify_flags", "minimum_version", "maximum_version"):
        assert int(getattr(ours, name)) == int(getattr(theirs, name)), name
    assert ours.get_ciphers() == theirs.get_ciphers()
    assert ours.get_ca_certs() == theirs.get_ca_certs()


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_all_that_is_said_arrives_on_both_sides(pki: Path, host: str, cut: bool) -> None:
    server = Echo(pki, cut)
    context = tls.Context(str(pki / "ca.pem"), "h2")
    context.identify(str(pki / "client.pem"), str(pki / "client.key"))
    heard, protocol = server.speak(context, host)
    assert (heard == MUCH, server.told == MUCH, protocol, server.known) == (True, True, "h2", True)


@pytest.mark.parametrize("host", ["example.com", "127.0.0.2"])
def test_whoever_has_another_name_is_told_nothing(pki: Path, host: str) -> None:
    server = Echo(pki)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        server.speak(tls.Context(str(pki / "ca.pem")), host)
    assert server.told == b""


@pytest.mark.parametrize("authorities", ["other.pem", ""])
def test_whom_no_authority_knows_is_told_nothing(pki: Path, authorities: str) -> None:
    server = Echo(pki)
    with pytest.raises(ssl.SSLCertVerificationError):
        server.speak(tls.Context(authorities and str(pki / authorities)), "localhost")
    assert server.told == b""


def test_nobody_waits_longer_than_he_was_told_to(pki: Path) -> None:
    context = tls.Context(str(pki / "ca.pem"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        one = context.socket(socket.AF_INET, socket.SOCK_STREAM)
        one.settimeout(0.05)
        one.connect(silent.getsockname())
        with pytest.raises(socket.timeout):
            one.begin("localhost")
        one.close()
