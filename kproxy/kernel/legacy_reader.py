"""Legacy IPv4 tables read in this process, through python-iptables, as iptables-save prints them.

Only IPv4: since iptables 1.8.9 the NAT targets share one library, and python-iptables 1.2.0 finds
DNAT only for the first family that a process reads; made to load it again, libxtables exits.

Rules are returned as text because that is how rules are compared everywhere else. White space
within a rule is one blank, where iptables-save 1.8.9 prints two after `--nfacct-name`.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from kproxy.errors import KernelRefused

# libxtables keeps its state in global variables of the process.
_library = threading.Lock()

_ADDRESSING = {
    "src": "-s",
    "dst": "-d",
    "in-interface": "-i",
    "out-interface": "-o",
    "protocol": "-p",
}
_NOT_MATCHES = {*_ADDRESSING, "target", "counters", "goto"}


def read_table(table: str) -> dict[str, list[str]]:
    """Return the rules by chain of a legacy table in the calling thread's namespace.

    Raises KernelRefused.
    """
    with _library, warnings.catch_warnings():
        # On a kernel with modules iptc reads the path of modprobe, and leaves that file open.
        warnings.simplefilter("ignore", ResourceWarning)
        import iptc  # takes 0.5 s, and only legacy tables need it

        try:
            handle = iptc.Table(table, autocommit=False)
            handle.refresh()  # iptc may reuse an object that read another namespace
            try:
                return {
                    chain.name: [
                        rule_text(iptc.easy.decode_iptc_rule(rule)) for rule in chain.rules
                    ]
                    for chain in handle.chains
                }
            finally:
                handle.close()
        except iptc.ip4tc.IPTCError as error:
            raise KernelRefused(f"legacy table {table}: {error}") from error


def rule_text(rule: Mapping[str, Any]) -> str:
    """Return a decoded rule of python-iptables as iptables-save prints it, without chain and
    counters.
    """
    return " ".join([*_addressing(rule), *_matches(rule), *_target(rule)])


def _addressing(rule: Mapping[str, Any]) -> Iterator[str]:
    for key, option in _ADDRESSING.items():
        if key in rule:
            value = str(rule[key])
            yield f"! {option} {value[1:]}" if value.startswith("!") else f"{option} {value}"


def _matches(rule: Mapping[str, Any]) -> Iterator[str]:
    for name, options in rule.items():
        if name not in _NOT_MATCHES:
            for one in options if isinstance(options, list) else [options]:
                yield " ".join([f"-m {name}", *_options(one)])


def _target(rule: Mapping[str, Any]) -> Iterator[str]:
    if target := rule.get("target"):
        if isinstance(target, str):
            yield f"-j {target}"
        else:
            for name, options in target.items():
                yield " ".join([f"-j {name}", *_options(options)])
    elif goto := rule.get("goto"):
        yield f"-g {goto}"


def _options(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if isinstance(value, list):
            yield f"! --{name} {value[1]}"
        elif name == "comment":
            yield f"--{name} {_quoted(value)}"
        else:
            yield f"--{name} {value}" if value else f"--{name}"


def _quoted(text: str) -> str:
    """Quote the text if iptables-save would (xtables.c, xtables_save_string)."""
    return text if re.fullmatch(r"[\w-]+", text, re.ASCII) else f'"{text}"'
