# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tuples whose fields have names, for programs that stay. PRIVATE to the collection.

What Python has in `collections` writes a class as text and compiles it, and comes with much else that a process keeps for
life. This is used in the same way, as far as it goes.
"""

from __future__ import annotations

from _operator import itemgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Record(tuple):
    """A tuple with the fields `_fields`, the last of which have `_defaults`."""

    __slots__ = ()
    _fields: tuple[str, ...] = ()
    _defaults: tuple[Any, ...] = ()

    def __new__(cls, *values: Any, **named: Any) -> _Record:
        """Take values in the order of the fields, then by name."""
        fields = cls._fields
        rest = fields[len(values) :]
        if not named and len(values) == len(fields):
            return tuple.__new__(cls, values)
        known = dict(zip(fields[len(fields) - len(cls._defaults) :], cls._defaults))
        unknown = named.keys() - set(rest)
        missing = [name for name in rest if name not in named and name not in known]
        if unknown or missing or len(values) > len(fields):
            raise TypeError(f"{cls.__name__}: {', '.join([*sorted(unknown), *missing]) or 'too many values'}")
        return tuple.__new__(cls, (*values, *(named[name] if name in named else known[name] for name in rest)))

    def _replace(self, **changes: Any) -> _Record:
        """Give one that has these fields, and the others as they are."""
        return type(self)(**{**dict(zip(self._fields, self)), **changes})

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in zip(self._fields, self))
        return f"{type(self).__name__}({told})"


def namedtuple(name: str, fields: str, defaults: tuple[Any, ...] = ()) -> type[_Record]:
    """Give a class of tuples with these fields, the last of which have these defaults."""
    names = tuple(fields.split())
    getters = {field: property(itemgetter(at)) for at, field in enumerate(names)}
    return type(name, (_Record,), {"__slots__": (), "_fields": names, "_defaults": tuple(defaults), **getters})
