# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write down what is on this host, or compare it with what was: files, users, units, processes.

snapshot.py write, or snapshot.py compare [ALLOWED…]: exit code 1 with a list of the differences, without those that
have the text of an ALLOWED in them. What a host writes by itself, what Ansible's own transport writes, and what the
applications write is left out.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
from pathlib import Path

SAVED = Path("/root/snapshot")
NOISE = re.compile(
    r"/(dev|proc|sys|tmp)$"
    r"|/root/(snapshot|\.ansible|\.cache)$|/home/.*/\.(ansible|cache)$"
    r"|/run/(log|sudo|systemd|trial|udev|user|utmp|\.boot_id)$"
    r"|/etc/(passwd|group|shadow|gshadow)-$|/etc/\.pwd\.lock$|/etc/sub[ug]id-?$"
    r"|/var/(log/(journal|lastlog|wtmp|btmp|faillog|dmesg.*)|lib/(systemd|sudo|dpkg|trial)|cache|tmp)$"
    r"|/srv/trial|.*/__pycache__$"
)


def entries() -> set[str]:
    """One line for each file, with what matters of it; the content counts below /etc."""
    found = set()
    below = ["/"]
    while below:
        for entry in os.scandir(below.pop()):
            if NOISE.match(entry.path):
                continue
            status = entry.stat(follow_symlinks=False)
            line = f"{stat.filemode(status.st_mode)} {status.st_uid}:{status.st_gid} {entry.path}"
            if entry.is_symlink():
                line += f" -> {os.readlink(entry.path)}"
            elif entry.is_dir():
                below.append(entry.path)
            elif entry.is_file() and entry.path.startswith("/etc/"):
                line += f" {hashlib.sha256(Path(entry.path).read_bytes()).hexdigest()[:16]}"
            found.add(line)
    return found


def processes() -> set[str]:
    """Programs that run, without kernel threads, this one and those that wait for it, and connections."""
    found = set()
    own = set()
    pid = os.getpid()
    while pid:
        own.add(str(pid))
        pid = int(Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[1])
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = path.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if words and path.name not in own and not words.startswith("sshd: "):
            found.add(f"process {words}")
    return found


def main() -> int:
    """Write, or compare."""
    verb, *allowed = sys.argv[1:]
    now = entries() | processes()
    if verb == "write":
        SAVED.write_text("\n".join(sorted(now)))
        return 0
    before = set(SAVED.read_text().split("\n"))
    differences = [f"gone: {line}" for line in sorted(before - now)] + [f"new: {line}" for line in sorted(now - before)]
    differences = [line for line in differences if not any(text in line for text in allowed)]
    print(*differences, sep="\n")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
