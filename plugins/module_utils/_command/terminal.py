# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text for people: tables, lengths of time, colours where there is a terminal. PRIVATE to the collection."""

from __future__ import annotations

import os
import sys

COLOURS = {"good": "32", "bad": "31", "busy": "33", "dull": "2"}
#: How each state of a service looks.
LOOKS = {
    "ready": "good",
    "up": "good",
    "scheduled": "good",
    "starting": "busy",
    "waiting": "busy",
    "stopping": "busy",
    "finishing": "busy",
    "backoff": "bad",
    "failed": "bad",
    "orphan": "bad",
    "down": "dull",
}


def write(text: str) -> None:
    """Write a line to the standard output, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Write a line to the standard error."""
    sys.stdout.flush()
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def coloured() -> bool:
    """Say whether the standard output is a terminal that is wanted in colour."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("NO_COLOR")


def paint(text: str, look: str) -> str:
    """Give *text* in the colour of *look*."""
    code = COLOURS.get(look)
    return f"\x1b[{code}m{text}\x1b[0m" if code else text


def harmless(text: str, keep: str = "") -> str:
    """Give *text* with every character that could steer a terminal shown as an escape, save those of *keep*."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in keep else character.encode("unicode_escape").decode()
        for character in text
    )


def duration(seconds: float) -> str:
    """Give a length of time in its two largest units; never negative, whatever the clock did."""
    seconds = max(seconds, 0.0)
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    for size, unit, next_size, next_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            return f"{whole // size}{unit} {whole % size // next_size}{next_unit}"
    return f"{whole}s"


def table(head: list[str], rows: list[list[str]], looks: list[str]) -> list[str]:
    """Give the lines of a table with aligned columns. *looks* has a look per row, used on its second column."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    colour = coloured()
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(head, widths)).rstrip()]
    for row, look in zip(rows, looks):
        cells = [cell.ljust(width) for cell, width in zip(row, widths)]
        cells[-1] = row[-1]
        if colour:
            cells[1] = paint(cells[1], look)
        lines.append("  ".join(cells).rstrip())
    return lines


def ending(exit_status: object) -> str:
    """Say how a process ended, from the supervisor's `exit` record and in its words."""
    if not isinstance(exit_status, dict):
        return ""
    code = exit_status.get("code")
    if exit_status.get("kind") == "exit":
        return f"exit code {code}"
    if exit_status.get("kind") == "signal":
        return f"signal {signal_name(code)}"
    return "exit status unknown"


def signal_name(number: object) -> str:
    """Give the name of a signal, or its number where it has none."""
    import signal

    try:
        return signal.Signals(int(str(number))).name
    except ValueError:
        return str(number)
