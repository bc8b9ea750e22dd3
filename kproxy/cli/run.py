"""`kproxy run`: the command line of the service proxy."""

from __future__ import annotations

from typing import Any

import click

from kproxy.cli.emulate import emulate_option
from kproxy.cli.execute import Request, execute
from kproxy.cli.flag_command import FlagCommand, given_flags
from kproxy.cli.flags import parse_switch
from kproxy.cli.log import ending_in_the_log
from kproxy.cli.mode_options import mode_options, take
from kproxy.cli.process import surviving_its_terminal
from kproxy.cli.systemd import take_manager


class _Switch(click.ParamType[bool]):
    name = "switch"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bool:
        try:
            return value if isinstance(value, bool) else parse_switch(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(
    cls=FlagCommand,
    context_settings={
        "max_content_width": 80,
    },
)
@click.option(
    "--manifests",
    metavar="PATH",
    multiple=True,
    help="Services, EndpointSlices, Nodes ... as YAML or JSON: a file or a folder, watched. "
    "May be repeated.",
)
@click.option("--once", type=_Switch(), default=False, metavar="", help="Sync once, then exit.")
@click.option(
    "--allow-empty",
    type=_Switch(),
    default=False,
    metavar="",
    help="Manifests without any Service remove all Services; otherwise those in force stay.",
)
@click.option("--netns", metavar="NAME", default="", help="Work in this network namespace.")
@click.option(
    "--config",
    metavar="FILE",
    default="",
    help="A KubeProxyConfiguration (v1alpha1). It replaces all flags below except "
    "--hostname-override and those of the log. A write to it ends the command.",
)
@click.option(
    "--master",
    metavar="URL",
    default="",
    help="The API server, instead of the kubeconfig's.",
)
@click.option("--hostname-override", metavar="NAME", default="", help="This node's name.")
@click.option(
    "--cleanup",
    type=_Switch(),
    default=False,
    metavar="",
    help="Remove the rules of all modes, then exit.",
)
@click.option(
    "--init-only", type=_Switch(), default=False, metavar="", help="Set sysctls, then exit."
)
@click.option(
    "--write-config-to", metavar="FILE", default="", help="Write the configuration, then exit."
)
@emulate_option
@mode_options
@click.option(
    "--kernel",
    type=click.Choice(["auto", "host", "uml"]),
    default="auto",
    help="The kernel to use. uml: user-mode Linux, with --once. auto: the same for ipvs mode with "
    "--once and --netns if this kernel has no IPVS.",
)
def run(**parameters: Any) -> None:
    """Run as the service proxy of a node: turn Services into kernel rules.

    Services come from --manifests, from the API server of a kubeconfig, or,
    without both, from that of the Pod's service account.

    Flags are kube-proxy's. Rules stay when the command ends, however it ends. It goes on when its
    terminal is closed (SIGHUP). A service manager is told as by sd_notify(3).

    \b
    Examples:
      kproxy run --manifests cluster.yaml --once
      kproxy run --manifests ./manifests --cluster-cidr 10.244.0.0/16
      kproxy run --config kube-proxy.yaml --manifests a.yaml --manifests b.yaml
      kproxy run --kubeconfig /var/lib/kube-proxy/kubeconfig.conf
      kproxy run --netns lab --manifests cluster.yaml
      kproxy run --cleanup

    \b
    Exit status:
      0  done, or stopped by SIGTERM or SIGINT
      1  the kernel, the machine or another kproxy does not allow it; the
         file of --config was written; this node's pod CIDRs (in mode
         NodeCIDR) or since 1.37 its addresses changed or its Node is gone
      2  bad input, or no Service at all while some are in force (see
         --allow-empty); nothing was changed
    """
    request = Request(
        flags=given_flags(parameters),
        options=take(parameters),
        **{name: parameters[name] for name in Request.__struct_fields__ if name in parameters},
    )
    with surviving_its_terminal(), ending_in_the_log():
        execute(request, take_manager())
