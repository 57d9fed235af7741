# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end of the start of Python, for programs that stay. PRIVATE to the collection."""

from __future__ import annotations

import gc
import sys

#: What `runpy`, by which Python runs a directory, has loaded for itself alone. Nothing of it holds on to anything in C.
_FOR_THE_START = (
    "runpy",
    "importlib.util",
    "contextlib",
    "collections",
    "functools",
    "types",
    "operator",
    "keyword",
    "reprlib",
)


def forget() -> None:
    """Give up what was needed only to find our program, most of a megabyte; what is imported next gets that memory.

    To be called before anything else is imported. Whoever needs one of these modules later loads it anew.
    """
    for name in _FOR_THE_START:
        sys.modules.pop(name, None)
    package = sys.modules.get("importlib")
    if package is not None and hasattr(package, "util"):
        del package.util
    gc.collect()
