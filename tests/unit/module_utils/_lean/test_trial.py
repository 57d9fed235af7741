# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Python that has changed what is used of it below its documented modules is refused when a runtime is installed for it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from guarded import PYTHON, make_runtime

LEAN = "holdfast/_lean"
#: What a later Python may do: a part, a file, what stands there, and what it would be like then.
CHANGES = {
    "json": (f"{LEAN}/json.py", "_write = writer()", "_write = str"),
    "records": (f"{LEAN}/records.py", "itemgetter(at)", "itemgetter(0)"),
    "signal": (f"{LEAN}/signal.py", '_signal, name, 0)) if "_" not in name', '_signal, name, 0)) if "_" in name'),
    "libc": (f"{LEAN}/libc.py", "except AttributeError:", "except LookupError:"),
    "sockets": ("holdfast/_varlink/sockets.py", "end.recvmsg(size,", "end.recvmsg(size, 0) or (size,"),
    "tls": (f"{LEAN}/tls.py", "server_hostname=host", "hostname=host"),
}


def selftest(tree: Path, *before: str) -> subprocess.CompletedProcess[str]:
    """Run it, as the last words of the command *before*."""
    command = [*before, PYTHON, "-I", "-S", str(tree), "selftest"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_what_works_here_is_well(tmp_path: Path) -> None:
    done = selftest(make_runtime(tmp_path))
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can name a host")
def test_a_host_with_the_longest_of_names_is_as_good(tmp_path: Path) -> None:
    named = 'printf %064d 1 >/proc/sys/kernel/hostname; exec "$@"'
    done = selftest(make_runtime(tmp_path), "unshare", "--uts", "/bin/sh", "-c", named, "sh")
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


@pytest.mark.parametrize("part", CHANGES)
def test_what_works_otherwise_is_named(tmp_path: Path, part: str) -> None:
    done = selftest(make_runtime(tmp_path, (CHANGES[part],)))
    assert done.returncode != 0
    assert f"_lean.{part}: does not " in done.stderr
