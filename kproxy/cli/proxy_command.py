"""The option by which commands run any service proxy on the nodes of their lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from kproxy.lab.other_proxies import OtherProxies

option = click.option(
    "--proxy-command",
    metavar="CMD",
    help="Judge this proxy: run it on every node instead of kproxy's. {config}, the path of a "
    "KubeProxyConfiguration, {kubeconfig} and {node} are replaced in its words.",
)


def others(text: str | None) -> OtherProxies | None:
    """Return the proxies of a command line, or None for kproxy's own. Raises BadInput."""
    if text is None:
        return None
    from kproxy.resident.commands import command_to_run
    from kproxy.resident.proxy_commands import ProxyCommand

    return ProxyCommand(command_to_run(text))
