"""`kproxy trace` and `kproxy explain` agree with every cell of the matrix, in every mode.

Both are asked in the lab that the cells were measured in. Here are settings that no other test
measures. test_matrix.py and test_profiles.py do the same with theirs: networks tunnel and vpc with
policy Local, and all that there is for ipvs mode. So iptables (nft) and nftables (kube-proxy's
layout) have all combinations of these networks, profiles and policies. Each other network is asked
in one of the two, and legacy iptables, the flat layout and userspace mode have two settings each,
which differ in network, profile and policy.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from kproxy.matrix.setting import Setting
from netns_tests.findings import require_none
from netns_tests.matrix.survey import survey
from netns_tests.modes import FLAT, IPTABLES, NFTABLES, USERSPACE, Mode

MOSTLY = [IPTABLES[0], NFTABLES[0]]
OTHERS = [IPTABLES[1], FLAT, USERSPACE]
OTHER_NETWORKS = ("flannel-vxlan", "flannel-host-gw", "eni", "eni-shared")


def case(
    mode: Mode,
    network: str = "vpc",
    profile: str = "upstream",
    policy: str = "Local",
    family: str = "IPv4",
) -> Any:
    setting = Setting(
        mode=mode.name, network=network, profile=profile, policy=policy, family=family
    )
    return pytest.param(mode, setting, id=f"{mode}-{network}-{profile}-{policy}-{family}")


CASES = [
    *(
        case(mode, network, profile, "Cluster")
        for mode, network, profile in product(MOSTLY, ("tunnel", "vpc"), ("cce", "upstream"))
    ),
    *(case(mode, "vpc", "upstream", "Local") for mode in OTHERS),
    *(case(mode, "tunnel", "cce", "Cluster") for mode in OTHERS),
    *(case(mode, network) for mode, network in zip(MOSTLY * 2, OTHER_NETWORKS, strict=True)),
    *(case(mode, family="IPv6") for mode in MOSTLY),
]


@pytest.mark.parametrize(("mode", "setting"), CASES)
def test_trace_and_explain_agree(mode: Mode, setting: Setting) -> None:
    _, found = survey(setting, mode.options)
    require_none(found)
