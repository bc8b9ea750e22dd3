"""The routes of a lab's router to nodes, which can be changed while the lab runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kproxy.errors import BadInput
from kproxy.kernel.links import Links, apart
from kproxy.lab import topology
from kproxy.lab.inventory import Inventory
from kproxy.lab.layout import Layout
from kproxy.lab.models import NetworkModel
from kproxy.lab.names import ROUTER


class Router:
    """The router's routes besides those that belong to the network model."""

    def __init__(
        self,
        inventory: Inventory,
        layout: Layout,
        model: NetworkModel,
        routes: Mapping[str, str],
    ) -> None:
        """Take the `routes` that were built, CIDR -> node."""
        self._inventory = inventory
        self._layout = layout
        self._model = model
        self._routes = dict(routes)

    @property
    def routes(self) -> Mapping[str, str]:
        """The present routes, CIDR -> node."""
        return self._routes

    def add(self, cidr: str, node: str) -> None:
        """Send a CIDR to a node, replacing an earlier route to it. Raises KernelRefused."""
        route = topology.route_to_node(self._layout, cidr, node, self._model)
        self._change(lambda links: links.add_route(route))
        self._routes[cidr] = node

    def remove(self, cidr: str) -> None:
        """Refuse a CIDR again. Raises BadInput if there is no route to it, and KernelRefused."""
        if cidr not in self._routes:
            raise BadInput([f"unroute: the router has no route to {cidr!r}"])
        route = topology.route_to_node(self._layout, cidr, self._routes[cidr], self._model)
        self._change(lambda links: links.delete_route(route))
        del self._routes[cidr]

    def _change(self, change: Callable[[Links], None]) -> None:
        namespace = self._inventory.between[ROUTER].namespace

        def enter_and_change() -> None:
            with namespace.entered(), Links() as links:
                change(links)

        apart(enter_and_change)
