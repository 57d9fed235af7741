# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The runtime as a set of files: its version, and the form in which it travels. PRIVATE to the collection.

Used on both ends: the controller packs, the host checks and unpacks.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import zlib
from collections.abc import Mapping

#: The archive's own format; part of the version, so that a new format is a new version.
FORMAT = 1
#: No runtime is larger than this, in bytes, unpacked; more is refused before it fills a memory or a disk.
SIZE_LIMIT = 8 * 1024 * 1024
#: What a version looks like.
VERSION_PATTERN = re.compile(r"[0-9a-f]{16}")
#: The only names that an archive may hold: nothing of it can land outside of its own directory.
_NAME_PATTERN = re.compile(r"__main__\.py|holdfast(?:/[A-Za-z_][A-Za-z0-9_]{0,63}){1,8}\.py")


class BadArchive(ValueError):
    """The archive is damaged, too large or not ours; nothing was unpacked."""


def version_of(files: Mapping[str, bytes]) -> str:
    """Give the version of a runtime: a hash over the names and contents of its files, whatever their order."""
    digest = hashlib.sha256(f"holdfast runtime {FORMAT}\n".encode())
    for name in sorted(files):
        content = files[name]
        digest.update(f"{len(content)} {name}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def is_name(name: str) -> bool:
    """Tell whether a runtime may hold a file of this name."""
    return _NAME_PATTERN.fullmatch(name) is not None


def encode(files: Mapping[str, bytes]) -> str:
    """Give the archive of *files* as text. The same files give the same archive."""
    document = {"format": FORMAT, "files": {name: files[name].decode("utf-8") for name in sorted(files)}}
    packed = zlib.compress(json.dumps(document, separators=(",", ":"), sort_keys=True).encode(), 9)
    return base64.b64encode(packed).decode("ascii")


def decode(archive: str, version: str) -> dict[str, bytes]:
    """Give the files of *archive*, which must be those of *version*. Raises BadArchive."""
    try:
        unpacker = zlib.decompressobj()
        plain = unpacker.decompress(base64.b64decode(archive, validate=True), SIZE_LIMIT)
        if not unpacker.eof:
            raise BadArchive(f"the runtime's archive is cut short or holds more than {SIZE_LIMIT} bytes")
        document = json.loads(plain)
    except (binascii.Error, zlib.error, ValueError) as error:
        if isinstance(error, BadArchive):
            raise
        raise BadArchive(f"the runtime's archive is damaged: {error}") from None
    if (
        not isinstance(document, dict)
        or document.get("format") != FORMAT
        or not isinstance(document.get("files"), dict)
    ):
        raise BadArchive("the runtime's archive has an unknown format")
    files: dict[str, bytes] = {}
    for name, text in document["files"].items():
        if not is_name(name) or not isinstance(text, str):
            raise BadArchive(f"the runtime's archive holds a file that does not belong there: {name!r}")
        files[name] = text.encode("utf-8")
    found = version_of(files)
    if found != version:
        raise BadArchive(f"the runtime's archive holds version {found}, announced was {version}")
    return files
