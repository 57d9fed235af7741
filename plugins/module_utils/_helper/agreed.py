# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the helper and the processes that work for it have agreed on. PRIVATE to the collection."""

from __future__ import annotations

#: The descriptor on which a child hears from the helper, and answers.
CONTROL = 3
#: First descriptor of what a child is passed for its program.
PASSED = 4
#: Longest result of a function, in bytes of JSON, and longest message of its exception, in characters.
RESULT, MESSAGE = 65536, 1000
#: What a complaint about a parameter, and so about the caller, begins with.
REFUSED = "refused: "
#: What a worker is for: calls of one class, any single call, a single call of one operation.
POOLED, ANY, PREPARED = "pooled", "any", "prepared"
#: Says to a worker that work may be on its way; no work is as short.
ANNOUNCEMENT = b"."
