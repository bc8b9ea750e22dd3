"""The tables that text for iptables-restore makes, as iptables-save prints them. Pure.

Both variants of iptables print the same for the rules that kproxy writes, with single blanks (as
`Xtables.read_all` returns them). Compared with iptables 1.8.9.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from kproxy.address import Family
from kproxy.kernel.xtables import TABLES, Chains, Table

_WORD = re.compile(r'"([^"]*)"|(\S+)')
_UNQUOTED = re.compile(r"[\w-]+", re.ASCII)  # xtables_save_string quotes all else
_BITS = {Family.IPV4: 32, Family.IPV6: 128}
_ALL_BITS = {Family.IPV4: "255.255.255.255", Family.IPV6: ":".join(["ffff"] * 8)}
_HEADER = ("-s", "-d", "-i", "-o", "-p")  # printed first, in this order
_PROTOCOLS = {"tcp": "6", "udp": "17", "sctp": "132"}  # as --vproto is printed
_STEPS = 0x80000000  # of a probability
_REJECTED_WITH = {
    Family.IPV4: "icmp-port-unreachable",
    Family.IPV6: "icmp6-port-unreachable",
}

Options = dict[str, tuple[str, ...]]
"""The words behind each option, which begins with "! " if it is inverted."""


def tables(family: Family, transactions: Iterable[str]) -> dict[Table, Chains]:
    """Return what these transactions leave in a namespace that had no rules.

    Built-in chains without rules are left out. Raises ValueError for a line, or an option of a
    rule, that kproxy does not write.
    """
    made: dict[Table, Chains] = {table: {} for table in TABLES}
    chains: Chains = {}
    for line in "".join(transactions).splitlines():
        if line.startswith("*"):
            chains = made[_table(line[1:])]
        elif line.startswith(":"):
            chains[line[1:].split(" ", 1)[0]] = []
        elif line.startswith(("-A ", "-I ")):
            operation, chain, rule = line.split(" ", 2)
            rules = chains.setdefault(chain, [])
            rules.insert(0 if operation == "-I" else len(rules), saved(family, rule))
        elif line != "COMMIT":
            raise ValueError(f"a line for iptables-restore that is not known: {line}")
    return made


def saved(family: Family, rule: str) -> str:
    """Return a rule as iptables-save prints it; both without the leading "-A CHAIN "."""
    header: Options = {}
    matches: list[tuple[str, Options]] = []
    target = ""
    options: Options = header
    words = [(found[1] or found[2]) for found in _WORD.finditer(rule)]
    place = 0
    while place < len(words):
        inverted = "! " if words[place] == "!" else ""
        place += bool(inverted)
        option = words[place]
        end = place + 1
        while end < len(words) and words[end] != "!" and not words[end].startswith("-"):
            end += 1
        values = tuple(words[place + 1 : end])
        if option == "-m":
            options = {}
            matches.append((values[0], options))
        elif option == "-j":
            target, options = values[0], {}
        elif option in _HEADER:
            header[inverted + option] = values
        else:
            options[inverted + option] = values
        place = end
    lines = [*_header(family, header)]
    lines += [_text(f"-m {name}", _match(family, name, found)) for name, found in matches]
    if target:
        lines.append(_text(f"-j {target}", _target(family, target, options)))
    return " ".join(lines)


def _table(name: str) -> Table:
    for table in TABLES:
        if table == name:
            return table
    raise ValueError(f"no table of kproxy's: {name}")


def _header(family: Family, options: Options) -> Iterable[str]:
    for option in _HEADER:
        for inverted in ("", "! "):
            if values := options.get(inverted + option):
                value = values[0]
                if option in ("-s", "-d"):
                    value = value if "/" in value else f"{value}/{_BITS[family]}"
                    if value.endswith("/0") and not inverted:
                        continue  # any address: not printed
                yield f"{inverted}{option} {value}"


def _text(start: str, options: Options) -> str:
    return " ".join([start, *(" ".join([option, *values]) for option, values in options.items())])


def _match(family: Family, name: str, options: Options) -> Options:
    if name not in _MATCHES:
        raise ValueError(f"iptables' match {name} is not known")
    return _MATCHES[name](family, options)


def _as_they_are(_family: Family, options: Options) -> Options:
    return options


def _comment(_family: Family, options: Options) -> Options:
    (text,) = options["--comment"]
    if not _UNQUOTED.fullmatch(text):
        text = '"{}"'.format(text.replace("'", r"\'"))
    return {"--comment": (text,)}


def _mark(_family: Family, options: Options) -> Options:
    return {
        option: ("/".join(map(_hex, value.split("/"))),) for option, (value,) in options.items()
    }


def _recent(family: Family, options: Options) -> Options:
    last = {"--name": options["--name"], "--mask": (_ALL_BITS[family],), "--rsource": ()}
    return {option: options[option] for option in options if option not in last} | last


def _statistic(_family: Family, options: Options) -> Options:
    """Return the probability as the kernel has it, in steps."""
    (wanted,) = options["--probability"]
    return options | {"--probability": (f"{round(float(wanted) * _STEPS) / _STEPS:.11f}",)}


def _ipvs(_family: Family, options: Options) -> Options:
    (protocol,) = options["--vproto"]
    numbered = options | {"--vproto": (_PROTOCOLS[protocol],)}
    return {option: numbered[option] for option in ("--vproto", "--vaddr", "--vport")}


def _target(family: Family, target: str, options: Options) -> Options:
    if target == "REJECT":
        return {"--reject-with": (_REJECTED_WITH[family],)}
    if target == "MARK":
        ((option, (bit,)),) = options.items()
        return {"--set-xmark": (f"{_hex(bit)}/{_hex(bit if option == '--or-mark' else '0')}",)}
    return options


def _hex(number: str) -> str:
    return f"0x{int(number, 16):x}"


_MATCHES: dict[str, Callable[[Family, Options], Options]] = {
    **dict.fromkeys(("addrtype", "conntrack", "nfacct", "physdev", "set"), _as_they_are),
    **dict.fromkeys(("tcp", "udp", "sctp"), _as_they_are),
    "comment": _comment,
    "ipvs": _ipvs,
    "mark": _mark,
    "recent": _recent,
    "statistic": _statistic,
}
