# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of logs and real log writers on them, for tests and benchmarks: ``from log_tables import Table``."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from waiting import wait_until

PLUGINS = Path(__file__).resolve().parent.parent / "plugins"
PROGRAM = (
    f"import sys; sys.path.insert(0, {str(PLUGINS)!r}); "
    "from module_utils._supervise._logwriter.daemon import main; sys.exit(main(sys.argv[1:]))"
)


class Table:
    """A table directory, the FIFOs of its services, and at most one log writer at a time."""

    def __init__(self, top: Path, python: str = sys.executable) -> None:
        """Make the directories below ``top``."""
        self.path = top / "logs"
        self.fifos = top / "fifos"
        self.log = top / "log"
        self.errors = top / "stderr"
        self.path.mkdir(parents=True)
        self.fifos.mkdir()
        os.mkfifo(self.path / "control", 0o600)
        self.control = os.open(self.path / "control", os.O_RDWR | os.O_NONBLOCK)
        self.process: subprocess.Popen[bytes] | None = None
        self._python = python
        self._held: dict[str, int] = {}
        self._services = ThreadPoolExecutor(16)

    def add(self, name: str, tell: bool = False, **log: Any) -> None:
        """Put a log into the table, as the supervisor does, and hold its FIFO."""
        fifo = self.fifos / name
        if name not in self._held:
            os.mkfifo(fifo, 0o600)
            self._held[name] = os.open(fifo, os.O_RDWR)
        settings: dict[str, Any] = {"to": "directory", "directory": str(self.log / name), "format": "iso", **log}
        entry = {"fifo": str(fifo), "log": settings}
        new = self.path / f"{name}.new"
        new.write_text(json.dumps(entry), encoding="utf-8")
        new.rename(self.path / f"{name}.json")
        if tell:
            self.tell(f"+{name}")

    def write(self, name: str, data: bytes) -> None:
        """Write as the service does; waits while the FIFO is full."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._held[name], view) :]

    def beside(self, service: Callable[..., None], *arguments: Any) -> Future[None]:
        """Have a service of its own write, beside the test. What it raises, its `result` raises."""
        return self._services.submit(service, *arguments)

    def release(self, name: str) -> None:
        """Let go of the FIFO."""
        os.close(self._held.pop(name))

    def waiting(self, name: str) -> int:
        """The number of bytes in the FIFO."""
        import array
        import fcntl
        import termios

        count = array.array("i", [0])
        fcntl.ioctl(self._held[name], termios.FIONREAD, count)
        return count[0]

    def tell(self, *commands: str) -> None:
        """Send commands to the log writer."""
        os.write(self.control, "".join(command + "\n" for command in commands).encode())

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start a log writer."""
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [self._python, "-I", "-S", "-c", PROGRAM, str(self.path)],
                stdin=subprocess.DEVNULL,
                stderr=errors,
                env={**os.environ, **environment},
            )
        return self.process

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self) -> int:
        """SIGTERM once the log writer has a handler for it; the exit status."""
        assert self.process is not None
        status_file = Path(f"/proc/{self.process.pid}/status")
        bit = 1 << (signal.SIGTERM - 1)

        def catches() -> bool:
            (caught,) = (line for line in status_file.read_text().splitlines() if line.startswith("SigCgt:"))
            return bool(int(caught.split()[1], 16) & bit)

        wait_until(catches)
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(120)
        self.process = None
        return status

    def close(self) -> None:
        """End everything that was started."""
        if self.process is not None:
            self.kill()
        for fifo in self._held.values():
            # Who still waits for room in it has some, and never waits again.
            os.set_blocking(fifo, False)
            with contextlib.suppress(BlockingIOError):
                os.read(fifo, 1 << 20)
        self._services.shutdown()
        for descriptor in (*self._held.values(), self.control):
            os.close(descriptor)

    def current(self, name: str) -> Path:
        """The file that is being written."""
        return self.log / name / "current"

    def rotated(self, name: str) -> list[Path]:
        """The rotated files, oldest first."""
        return sorted((self.log / name).glob("@*"))

    def text(self, name: str) -> bytes:
        """All files of the log, in order."""
        while True:
            try:
                before = self.rotated(name)
                text = b"".join(file.read_bytes() for file in before)
                current = self.current(name)
                text += current.read_bytes() if current.exists() else b""
            except FileNotFoundError:
                continue  # A rotation came between looking and reading.
            if self.rotated(name) == before:
                return text

    def lines(self, name: str, stamp: int = 28) -> list[bytes]:
        """The lines of the log without their stamps of ``stamp`` bytes; an unterminated last one counts too."""
        return [line[stamp:] for line in self.text(name).splitlines()]

    def wait_for(self, name: str, text: bytes, timeout: float = 20) -> None:
        """Return when ``text`` is in the log."""
        wait_until(lambda: text in self.text(name), timeout, f"{text!r} is not in the log of {name}")

    def stats(self, name: str) -> dict[str, Any]:
        """What the log writer tells about losses; empty if nothing."""
        try:
            return dict(json.loads((self.path / "stats" / name).read_text(encoding="ascii")))
        except FileNotFoundError:
            return {}
