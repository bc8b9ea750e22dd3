"""The minimal backend keeps the contract. Needs root: sudo python -m pytest test_minimal.py"""

import subprocess

import pytest
from kproxy_minimal import MODE

import kproxy.backend as kp
from kproxy.testing.backend_contract import BackendContract, Subject, unprivileged


def nft(script: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=script, check=True, text=True)


def sabotage(family: kp.Family) -> None:
    nft(f"flush chain {'ip' if family is kp.Family.IPV4 else 'ip6'} minimal services")


class TestContract(BackendContract):
    @pytest.fixture
    def subject(self) -> Subject:
        return Subject(
            mode=MODE,
            foreign=lambda: nft("add table ip mine; add chain ip mine services"),
            sabotage=sabotage,
            refuse=unprivileged,
        )
