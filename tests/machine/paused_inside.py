# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside an emulated machine that is going to be stopped: one guard. It judges nothing: test_paused.py does."""

from __future__ import annotations

import outside

outside.connect()
print(f"ended with {outside.guard().wait()}", flush=True)
