# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a program of the host gives, and what becomes of one that gives nothing."""

from __future__ import annotations

import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._supervise import programs


def test_its_exit_code_output_and_errors_are_told() -> None:
    told = programs.run(["/bin/sh", "-c", 'cat; echo "$ONE"; printf "\\377" >&2; exit 3'], {"ONE": "two"})
    assert told == (3, "two\n", "\ufffd")


def test_one_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        programs.run(["/nonexistent/program"])


def test_one_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "PATIENCE", 0.2)
    with pytest.raises(TimeoutError, match="no answer within"):
        programs.run(["/bin/sleep", "1000"])
