# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside an emulated machine: a way to the machine around it, where the store is, and a guard of a service that beats."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

PAYLOAD = Path("/payload")
_FINIT_MODULE = 313

#: It hears nothing of the end that it is asked for. Beats: token, and its own clock, on a serial port of their own.
SERVICE = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
port = os.open("/dev/ttyS2", os.O_WRONLY | os.O_NOCTTY)
while True:
    os.write(port, f"{os.environ['HOLDFAST_TOKEN']} {time.clock_gettime_ns(time.CLOCK_BOOTTIME)}\\n".encode())
    time.sleep(0.005)
"""


def connect() -> None:
    """Have the network that QEMU makes for users; 10.0.2.2 is the machine around this one."""
    libc = ctypes.CDLL(None, use_errno=True)
    for name in (PAYLOAD / "modules" / "order").read_text().split():
        descriptor = os.open(PAYLOAD / "modules" / name, os.O_RDONLY)
        if libc.syscall(_FINIT_MODULE, descriptor, b"", 0) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), name)
        os.close(descriptor)
    (card,) = (name for name in os.listdir("/sys/class/net") if name != "lo")
    subprocess.run(("ip", "address", "add", "10.0.2.15/24", "dev", card), check=True)
    subprocess.run(("ip", "link", "set", card, "up"), check=True)


def guard() -> subprocess.Popen[bytes]:
    """Start the guard; what its words are stands in the payload."""
    words = (PAYLOAD / "guard").read_text().split("\n")
    service = ["/usr/bin/python3", "-I", "-S", "-c", SERVICE]
    return subprocess.Popen(
        ["/usr/bin/python3", "-I", "-S", str(PAYLOAD / "runtime"), "guard", *words, "--", *service],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
