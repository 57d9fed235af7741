# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our files among systemd's: units, links that enable them, secret environments. PRIVATE to the collection."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from typing import Any

from .. import holding
from ..interface import BackendError, NotRunning
from ..log_table import KEPT
from . import unit
from .unit import LOG_WRITER, Place

#: In the scan directory: what of ours is for systemd alone. Only root may look into it.
FOLDER = ".systemd"
SETTINGS = "settings.json"
#: Taken by the units of the embedded supervisor.
TAKEN = frozenset(("holdfast-services.service",))


class Units:
    """The units of one scan directory in the folder *units*."""

    def __init__(self, place: Place, units: str) -> None:
        self.place = place
        self.units = units

    def wanted(self, metas: Mapping[str, tuple[dict[str, Any], str]]) -> dict[str, str]:
        """Give all units of these services (name to holdfast.json and identity), and the log writer's."""
        marked = {name for name in metas if _may_be_elsewhere(self.place.scan, name)}
        texts = unit.units(list(metas.values()), self.place, marked)
        if any((meta.get("log") or {}).get("to") in KEPT for meta, _identity in metas.values()):
            texts[LOG_WRITER] = log_writer_unit(self.place)
        return texts

    def present(self) -> dict[str, str]:
        """Give our units of this scan directory as they are on the disk."""
        found: dict[str, str] = {}
        try:
            entries = os.listdir(self.units)
        except FileNotFoundError:
            return found
        start = unit.heading(self.place.scan).partition(";")[0]
        for entry in entries:
            if entry.startswith(("holdfast-", "holdfast.")) and entry.endswith((".service", ".timer")):
                text = _read(f"{self.units}/{entry}")
                first = (text or "").partition("\n")[0].partition(";")[0]
                if first == start or first.startswith(start + "/"):
                    found[entry] = text or ""
        return found

    def foreign(self, names: Mapping[str, str]) -> list[str]:
        """Give those of *names* that are there and not ours to change."""
        ours = self.present()
        return sorted(
            name for name in names if name in TAKEN or (name not in ours and os.path.lexists(f"{self.units}/{name}"))
        )

    def has(self, name: str) -> bool:
        """Tell whether there is a unit of this name."""
        return os.path.lexists(f"{self.units}/{name}")

    def enabled(self, name: str) -> bool:
        """Tell whether a unit is started at boot."""
        return os.path.islink(self._link(name))

    def target(self, name: str) -> str:
        """Give the target that has a unit started at boot."""
        return "timers.target" if name.endswith(".timer") else self.place.target

    def write(self, name: str, text: str) -> None:
        """Put a unit in place of the one that is there. Raises OSError."""
        _replace(f"{self.units}/{name}", text, 0o644)

    def remove(self, name: str) -> None:
        """Remove a unit and what enables it. Raises OSError."""
        for path in (self._link(name), f"{self.units}/{name}"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def enable(self, name: str, wanted: bool) -> bool:
        """Have a unit started at boot, or not; gives whether anything was changed. Raises OSError."""
        link = self._link(name)
        if os.path.islink(link) == wanted:
            return False
        if wanted:
            os.makedirs(os.path.dirname(link), 0o755, exist_ok=True)
            os.symlink(f"{self.units}/{name}", link)
        else:
            os.unlink(link)
        return True

    def _link(self, name: str) -> str:
        return f"{self.units}/{self.target(name)}.wants/{name}"


def _may_be_elsewhere(scan: str, name: str) -> bool:
    """Tell whether a service is on its way here or away, so that its unit has to look whose it is; not once it is here."""
    mark = holding.read(scan, name)
    return mark is not None and not mark.holder == mark.target == unit.BACKEND


def log_writer_unit(place: Place) -> str:
    """Give the unit of the log writer. systemd keeps its FIFOs, so that its death is no service's."""
    program = ["-I", "-S", place.runtime]
    logs = unit.words(place.python, *program, "step", "logs", place.scan, place.logs)
    lines = [
        unit.heading(place.scan),
        "[Unit]",
        f"Description=Log writer of the services in {place.scan}",
        f"RequiresMountsFor={unit.words(place.scan)}",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=exec",
        f"ExecStartPre=+{logs}",
        f"ExecStart={unit.words(place.python, *program, 'logwriter', place.table)}",
        f"ExecReload=+{logs}",
        *([f"User={place.log_user}"] if place.log_user else []),
        "# The steps hand systemd the FIFOs.",
        "NotifyAccess=all",
        "FileDescriptorStoreMax=16384",
        "Restart=always",
        "RestartSec=100ms",
        "OOMScoreAdjust=-900",
        "LimitNOFILE=524288",
        "",
    ]
    return "\n".join(lines)


class FormerLogs:
    """Where the log writer of earlier versions had its table and FIFOs: those of the embedded supervisor are there.

    They are renamed, under a log writer and services that have them open and do not notice.
    """

    def __init__(self, ours: Units) -> None:
        self.place = ours.place
        self.unit = f"{ours.units}/{LOG_WRITER}"

    def used(self) -> bool:
        """Tell whether the log writer is told of the former place, or was until it is told again. Changes nothing."""
        former = unit.words(f"{self.place.run}/logs")
        lines = (_read(self.unit) or "").splitlines()
        ours = bool(lines) and lines[0].partition(";")[0] == unit.heading(self.place.scan).partition(";")[0]
        told = any(line.startswith("ExecStart=") and line.endswith(f" logwriter {former}") for line in lines)
        return (ours and told) or self._is_link("logs") or self._is_link("fifo")

    def move(self) -> None:
        """Rename them; until `forget`, what has only heard of the former place finds them there too. Raises OSError."""
        os.makedirs(self.place.logs, 0o755, exist_ok=True)
        for kind in ("logs", "fifo"):
            former, present = f"{self.place.run}/{kind}", f"{self.place.logs}/{kind}"
            if os.path.isdir(former) and not os.path.islink(former) and not os.path.lexists(present):
                os.rename(former, present)
            if os.path.isdir(present) and not os.path.lexists(former):
                os.symlink(self._target(kind), former)

    def forget(self) -> None:
        """Remove what leads from the former place to the present one. Raises OSError."""
        for kind in ("logs", "fifo"):
            if self._is_link(kind):
                os.unlink(f"{self.place.run}/{kind}")

    def _is_link(self, kind: str) -> bool:
        path = f"{self.place.run}/{kind}"
        return os.path.islink(path) and os.readlink(path) == self._target(kind)

    @staticmethod
    def _target(kind: str) -> str:
        return f"{unit.LOGS}/{kind}"


def read_settings(scan: str) -> dict[str, Any]:
    """Give what the role supervisor has written for this backend. Raises NotRunning, BackendError."""
    path = f"{scan}/{FOLDER}/{SETTINGS}"
    text = _read(path)
    if text is None:
        raise NotRunning(f"{scan} is not set up for the backend systemd")
    try:
        settings = json.loads(text)
        return {key: str(settings[key] or "") for key in ("python", "runtime", "run", "log_user")}
    except (ValueError, KeyError, TypeError) as error:
        raise BackendError(
            f"{path} is damaged ({error}): apply the role holdfast.supervision.supervisor again"
        ) from None


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _replace(path: str, text: str, mode: int) -> None:
    beside = f"{os.path.dirname(path)}/.holdfast.{os.path.basename(path)}"
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with open(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        os.fchmod(descriptor, mode)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    os.rename(beside, path)
