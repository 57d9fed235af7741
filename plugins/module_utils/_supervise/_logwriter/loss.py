# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Counting what a log lost, and telling it in ``stats/NAME``."""

from __future__ import annotations

import os

from ..._lean import json
from .stamps import NANOSECONDS

STATS = "stats"
_INTERVAL = NANOSECONDS


class Loss:
    """The losses of one log: in all (since boot), and since the last line that told of them."""

    __slots__ = (
        "_directory",
        "_name",
        "_written",
        "bytes",
        "cut",
        "due",
        "error",
        "lines",
        "since",
        "total_bytes",
        "total_lines",
    )

    def __init__(self, directory: int, name: str) -> None:
        """Go on from what a predecessor counted. ``directory``: descriptor of the table."""
        self._directory = directory
        self._name = name
        self._written = 0
        self.due = 0  # When the statistics must be written, in nanoseconds since 1970; 0 if they are.
        self.cut = False  # The lost bytes end within a line, whose rest is to be dropped as well.
        self.error: str | None = None
        self.lines = self.bytes = self.total_lines = self.total_bytes = self.since = 0
        self._load()

    def _load(self) -> None:
        try:
            path = STATS + "/" + self._name
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self._directory)
        except OSError:
            return
        try:
            saved = json.loads(os.read(descriptor, 4096).decode("ascii"))
            self.total_lines, self.total_bytes = int(saved["lost_lines"]), int(saved["lost_bytes"])
            self.lines, self.bytes = int(saved["untold_lines"]), int(saved["untold_bytes"])
            self.error = saved["error"]
            self.since = int(saved["since"] * NANOSECONDS)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        finally:
            os.close(descriptor)

    def began(self, error: str, now: int) -> bool:
        """Note the reason; whether it is a new one."""
        if self.error == error:
            return False
        if self.error is None:
            self.since = now
        self.error = error
        self.save(now)
        return True

    def add(self, lines: int, count: int, now: int) -> None:
        """Count ``lines`` lines and ``count`` bytes as lost."""
        self.lines += lines
        self.bytes += count
        self.total_lines += lines
        self.total_bytes += count
        if now - self._written >= _INTERVAL or now < self._written:
            self.save(now)
        elif not self.due:
            self.due = self._written + _INTERVAL

    def text(self) -> bytes:
        """The line that tells of the loss; empty if there is nothing to tell."""
        if not self.lines and not self.bytes:
            return b""
        reason = (self.error or "").encode("utf-8", "surrogateescape")
        return b"holdfast: %d lines (%d bytes) lost: %s\n" % (self.lines, self.bytes, reason)

    def ended(self, now: int) -> None:
        """The log works again, and says what is missing."""
        self.error = None
        self.lines = self.bytes = 0
        self.save(now)

    def save(self, now: int) -> None:
        """Write ``stats/NAME``; a failure is tried again a second later."""
        self._written = now
        self.due = 0
        text = json.dumps(
            {
                "lost_lines": self.total_lines,
                "lost_bytes": self.total_bytes,
                "error": self.error,
                "since": self.since / NANOSECONDS,
                "untold_lines": self.lines,
                "untold_bytes": self.bytes,
            }
        )
        path = STATS + "/" + self._name
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            # The first loss makes the directory: most tables never have one.
            if not os.access(STATS, os.F_OK, dir_fd=self._directory):
                os.mkdir(STATS, 0o755, dir_fd=self._directory)
            descriptor = os.open(path + ".new", flags, 0o644, dir_fd=self._directory)
            try:
                os.write(descriptor, text.encode("ascii") + b"\n")
            finally:
                os.close(descriptor)
            os.rename(path + ".new", path, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except OSError:
            self.due = now + _INTERVAL


def known(directory: int, name: str) -> bool:
    """Whether a predecessor left an account of losses."""
    return os.access(STATS + "/" + name, os.F_OK, dir_fd=directory)
