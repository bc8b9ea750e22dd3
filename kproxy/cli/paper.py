"""The options of commands that show rules from manifests: what to read, and for which node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec import Struct

from kproxy.address import Family
from kproxy.api.types import KubernetesObject
from kproxy.backend import DEFAULT_MODE, HostFacts, ModeConfigs, complete_options, load
from kproxy.backend.options import SECTION
from kproxy.cli.emulate import emulate_option
from kproxy.cli.mode_choice import ModeChoice
from kproxy.cli.mode_options import Given, mode_options
from kproxy.cli.progress import say
from kproxy.config import ProxyConfig
from kproxy.config.decode import Read
from kproxy.config.file import read_file, without_file
from kproxy.errors import BadInput
from kproxy.rules.paper import Paper
from kproxy.versions import Version

_F = TypeVar("_F", bound=Callable[..., Any])
_FAMILIES = {"4": Family.IPV4, "6": Family.IPV6}

_OPTIONS = (
    click.option(
        "--node",
        metavar="NAME",
        default="",
        help="The node. Default: that of --config, or the only one of the manifests.",
    ),
    click.option("--config", metavar="FILE", default="", help="A KubeProxyConfiguration."),
    click.option(
        "--mode",
        type=ModeChoice(),
        help=f"The proxy mode. Default: that of --config, or {DEFAULT_MODE}.",
    ),
    emulate_option,
    click.option(
        "--family",
        type=click.Choice([*_FAMILIES]),
        help="Only rules of IPv4 or IPv6. Default: both.",
    ),
    mode_options,
)
_FACTS = (
    click.option(
        "--address",
        "addresses",
        metavar="IP",
        multiple=True,
        help="An address of the node's interfaces, beside those of its Node and loopback.",
    ),
    click.option(
        "--nfacct/--no-nfacct",
        default=True,
        show_default=True,
        help="The node's kernel has packet counters, which iptables mode uses.",
    ),
    click.option(
        "--tcp-be-liberal",
        is_flag=True,
        help="The node's setting nf_conntrack_tcp_be_liberal is on.",
    ),
)


def paper_options(command: _F) -> _F:
    """Add the options to a click command: those of `Wanted`, of `mode_options`, and `family`."""
    for add in reversed(_OPTIONS):
        command = add(command)
    return command


def fact_options(command: _F) -> _F:
    """Add the options for facts about a kernel, which `facts` takes."""
    for add in reversed(_FACTS):
        command = add(command)
    return command


class Wanted(Struct, frozen=True, kw_only=True):
    """The configuration that a command line asks for; "" means not given."""

    config: str
    mode: str | None
    emulate: Version | None
    options: Given

    def paper(self) -> Paper:
        """Return the mode with its configuration. Raises BadInput."""
        known = ModeConfigs()
        overrides: dict[str, Any] = {"emulate": self.emulate} if self.emulate else {}
        read = self._read(overrides)
        chosen = overrides | ({"mode": self.mode} if self.mode else {})
        # The options in a file are those of the mode that it names.
        in_file = read.config.backend_options if self.mode in (None, read.config.mode) else {}
        read = self._read(chosen)
        mode = load(read.config.mode if read.config.mode in known else DEFAULT_MODE)
        options, found = self.options.with_file(mode, in_file)
        problems = [each.at(self.config) for each in read.problems]
        problems += [
            each.at(self.config if each.field.startswith(SECTION) else "") for each in found
        ]
        if problems:
            raise BadInput(problems)
        for notice in read.notices:
            say(notice.at(self.config))
        return Paper(
            config=read.config, mode=mode, options=complete_options(mode, read.config, options)
        )

    def _read(self, overrides: dict[str, Any]) -> Read:
        if self.config:
            if not Path(self.config).is_file():
                raise BadInput([f"--config: there is no file {self.config}"])
            return read_file(self.config, ModeConfigs(), overrides)
        return without_file(ModeConfigs(), overrides)


def of_lab(config: str, mode: str | None, emulate: Version | None, options: Given) -> Paper:
    """Return the mode of a lab's proxies, which may have no file. Raises BadInput."""
    if config:
        return Wanted(config=config, mode=mode, emulate=emulate, options=options).paper()
    chosen = load(mode or DEFAULT_MODE)
    plain = ProxyConfig(mode=chosen.name)
    return Paper(config=plain, mode=chosen, options=options.options(chosen))


def families(given: str | None) -> tuple[Family, ...]:
    """Return the families that `--family` names."""
    return (_FAMILIES[given],) if given else tuple(Family)


def facts(addresses: tuple[str, ...], *, nfacct: bool, tcp_be_liberal: bool) -> HostFacts:
    """Return the facts of the command line. Raises BadInput."""
    from kproxy.api.addresses import parse_ip

    parsed = {address: parse_ip(address) for address in addresses}
    if wrong := [address for address, ip in parsed.items() if ip is None]:
        raise BadInput([f"--address: {address!r} is no IP address" for address in wrong])
    return HostFacts(
        addresses=frozenset(map(str, parsed.values())),
        nfacct=nfacct,
        tcp_be_liberal=tcp_be_liberal,
    )


def read_objects(paths: tuple[str, ...]) -> tuple[KubernetesObject, ...]:
    """Return the objects of manifests. Raises BadInput."""
    from kproxy.cli.objects import told
    from kproxy.sources.files import Manifests

    return told(Manifests(paths).read(), paths)
