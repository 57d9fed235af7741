# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the root process of a suite begins: with the hooks around its start. PRIVATE to the collection.

The embedded supervisor runs them itself. A suite knows of no such thing, so its root process begins as this script,
whatever starts it.
"""

from __future__ import annotations

import shlex

from .files import MARKER
from .host import Host

#: In the directory of the suite.
NAME = ".begin"

_SCRIPT = """\
#!/bin/sh
{marker}
# Runs the hooks around the start of {backend}, and becomes the command that it is given: `.begin COMMAND...`
hooks() {{
    point=$1
    shift
    {program} hooks "$point" "$@" {backend} {scan}
}}
if [ -d {directory}/before_daemon_start ]; then
    hooks before_daemon_start || exit 111
fi
if [ -d {directory}/after_daemon_start ]; then
    # Nobody's child, and it waits until this process is {backend}.
    (hooks after_daemon_start --of $$ &)
fi
# For what stands between {backend} and its services: wherever the command is.
export HOLDFAST_PYTHON={python} HOLDFAST_RUNTIME={runtime}
exec "$@"
"""


def script(host: Host, backend: str) -> str:
    """Give the script for *backend* on the scan directory of *host*."""
    scan = host.wanted.scan_directory
    program = list(map(shlex.quote, host.wanted.program()))
    return _SCRIPT.format(
        marker=MARKER,
        backend=backend,
        program=" ".join(program),
        python=program[0],
        runtime=shlex.quote(f"{host.wanted.program()[-1]}/__main__.py"),
        scan=shlex.quote(scan),
        directory=shlex.quote(f"{scan.rpartition('/')[0]}/hooks.d"),
    )
