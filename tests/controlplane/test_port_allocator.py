"""Node ports: those allocated, in their order, and the refusals of others."""

from __future__ import annotations

from random import Random

import pytest

from kproxy.controlplane.port_allocator import NODE_PORTS, PortAllocator
from kproxy.errors import BadInput

BANDS = [  # range, of it static
    (NODE_PORTS, 86),
    (range(30000, 30016), 0),
    (range(30000, 30017), 16),
    (range(30000, 30513), 16),
    (range(20000, 30000), 128),
]


@pytest.mark.parametrize(("ports", "static"), BANDS)
def test_bands(ports: range, static: int) -> None:
    allocator = PortAllocator(Random(0), ports)
    upper = {allocator.allocate_next() for _ in range(len(ports) - static)}
    assert upper == set(ports[static:])
    assert {allocator.allocate_next() for _ in range(static)} == set(ports[:static])
    with pytest.raises(BadInput, match=r"^range is full$"):
        allocator.allocate_next()


@pytest.mark.parametrize("port", [0, 80, 29999, 32768, 65535])
def test_out_of_range(port: int) -> None:
    with pytest.raises(BadInput) as refused:
        PortAllocator(Random(0)).allocate(port)
    assert refused.value.problems == [
        "provided port is not in the valid range. The range of valid ports is 30000-32767"
    ]


def test_a_port_is_given_out_once_until_it_is_released() -> None:
    allocator = PortAllocator(Random(0), range(30000, 30002))
    allocator.allocate(30000)
    with pytest.raises(BadInput, match=r"^provided port is already allocated$"):
        allocator.allocate(30000)
    assert allocator.allocate_next() == 30001
    allocator.release(30000)
    allocator.release(80)
    assert allocator.allocate_next() == 30000
