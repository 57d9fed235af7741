# Copyright: (c) 2026, the holdfast.supervision authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changing who is a member of an etcd that does not always answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import etcds
import pytest

from ansible_collections.holdfast.supervision.plugins.module_utils._lease._etcd import client, membership
from ansible_collections.holdfast.supervision.plugins.module_utils._lease.interface import StoreUnavailable

THIRD = "http://127.0.0.1:9"


@pytest.fixture
def pair() -> Iterator[etcds.Cluster]:
    if not etcds.ETCD:
        pytest.skip("there is no etcd")
    made = etcds.Cluster(2).start()
    yield made
    made.close()


@pytest.mark.parametrize("done", [True, False])
def test_a_change_whose_answer_is_lost_is_made_once_and_told(
    pair: etcds.Cluster, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    lost: list[str] = []
    real = client.Client.call

    def call(self: client.Client, path: str, request: dict[str, Any], deadline: float) -> dict[str, Any]:
        adds = path == "/v3/cluster/member/add" and not lost
        if adds:
            lost.append(path)
        answer = real(self, path, request, deadline) if done or not adds else {}
        if adds:
            raise StoreUnavailable("no answer")
        return answer

    monkeypatch.setattr(client.Client, "call", call)
    members = {member.name: member.peer_url for member in pair.members}
    given = {"endpoints": pair.endpoints, "members": {**members, "third": THIRD}, "join": "third", "timeout": 60.0}
    told = membership.etcd_members(given, False)
    assert lost and told["changed"] and told["added"] == THIRD, told
    assert sorted(peer for one in told["members"] for peer in one["peer_urls"]) == sorted([*members.values(), THIRD])
    assert not membership.etcd_members(given, False)["changed"]
