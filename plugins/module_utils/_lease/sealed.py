# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records in blocks of storage that several hosts see: a check sum and JSON, or zeros. PRIVATE to the collection."""

from __future__ import annotations

import zlib

from .._lean import json
from .interface import LeaseError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BLOCK = 4096
#: What is in the block of nobody.
EMPTY = bytes(BLOCK)


def encode(record: dict[str, Any]) -> bytes:
    """Give the block of a record. Raises LeaseError if it is too long."""
    text = json.dumps(record, separators=(",", ":")).encode()
    block = b"%08x %s" % (zlib.crc32(text), text)
    if len(block) > BLOCK:
        raise LeaseError(f"{len(block)} bytes are more than the {BLOCK} that there is room for beside a lease")
    return block.ljust(BLOCK, b"\0")


def decode(block: bytes) -> dict[str, Any] | None:
    """Give the record of a block, None if it is damaged, or was read while it was written."""
    check, _space, text = block.rstrip(b"\0").partition(b" ")
    try:
        if int(check, 16) != zlib.crc32(text):
            return None
        record = json.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
