# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The backends that the conformance suite runs on, one line for each form of them."""

from __future__ import annotations

from conforming import EmbeddedHost, EncoreLayoutHost, Supervised
from conforming_family import DaemontoolsHost, EncoreHost, RunitHost, S6Host
from conforming_openrc import OpenRcHost
from conforming_supervisord import SupervisordHost
from conforming_systemd import SystemdHost

CLASSES: tuple[type[Supervised], ...] = (
    EmbeddedHost,
    EncoreLayoutHost,
    S6Host,
    RunitHost,
    DaemontoolsHost,
    EncoreHost,
    SystemdHost,
    SupervisordHost,
    OpenRcHost,
)
