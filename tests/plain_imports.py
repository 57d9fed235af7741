# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Imports of other collections in a process in which some test has put Ansible's own import machinery in place.

That wants collections that it has found itself; ours is a checkout that lies anywhere, see conftest.py.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def plain_imports() -> Iterator[None]:
    """Let Python's own machinery import, as it does on a host."""
    before = [*sys.meta_path], [*sys.path_hooks]
    sys.meta_path[:] = [one for one in sys.meta_path if "ansible" not in type(one).__module__]
    sys.path_hooks[:] = [one for one in sys.path_hooks if "ansible" not in getattr(one, "__module__", "")]
    sys.path_importer_cache.clear()
    try:
        yield
    finally:
        sys.meta_path[:], sys.path_hooks[:] = before
        sys.path_importer_cache.clear()
