# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A service's process tree that stands ready while its guard stands in line. PRIVATE to the collection.

Its first process, the init of the pid namespace, waits for the guard's word as any does, see tree.py: nothing of the service
runs before that, and it dies with the guard. What is spared is the time in which it is made, when somebody waits for it.

Until it is taken the guard's other children, such as the one that waits in line, are outside of its namespace.
"""

from __future__ import annotations

import os

from . import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .tree import Tree

_NAMESPACE = "/proc/self/ns/pid"
_OF_CHILDREN = "/proc/self/ns/pid_for_children"


class Prepared:
    """One tree that nobody needs yet. make: makes it, with a pid namespace."""

    __slots__ = ("_theirs", "tree")

    def __init__(self, make: Callable[[], Tree]) -> None:
        """Make it. Raises LeaseError, OSError; nothing is left then."""
        own = os.open(_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # Changes nothing: whoever may not do this has to know it before he needs it.
            kernel.children_in(own)
            try:
                self.tree = make()
                try:
                    self._theirs = os.open(_OF_CHILDREN, os.O_RDONLY | os.O_CLOEXEC)
                except OSError:
                    self._end()
                    raise
            finally:
                kernel.children_in(own)
        finally:
            os.close(own)

    def take(self) -> Tree:
        """Give the tree; children that are made from now on are in its namespace. Raises OSError; it is gone then."""
        try:
            kernel.children_in(self._theirs)
        except OSError:
            self._end()
            raise
        finally:
            os.close(self._theirs)
        return self.tree

    def discard(self) -> None:
        """Kill it: nobody is going to need it."""
        os.close(self._theirs)
        self._end()

    def ended(self) -> None:
        """Its first process has ended, and was collected."""
        os.close(self._theirs)
        self.tree.close()

    def _end(self) -> None:
        self.tree.kill()
        os.waitpid(self.tree.pid, 0)
        self.tree.close()
