"""The words in which `up`, `ls` and `status` tell of labs."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kproxy.report.columns import fitting_lines

Status = Mapping[str, Any]


def overview(status: Status) -> str:
    """Return what `up` prints: hosts and addresses, and the line to type next."""
    rows = [("HOST", "KIND", "ADDRESSES")]
    rows += [(each["name"], "node", ", ".join(each["addresses"])) for each in status["nodes"]]
    rows += [
        (each["name"], f"pod on {each['node']}", ", ".join(each["addresses"]))
        for each in status["pods"]
    ]
    rows += [(each["name"], "client", ", ".join(each["addresses"])) for each in status["clients"]]
    return "\n".join(
        [
            *fitting_lines(rows),
            "",
            f"{status['name']} is up: {_summary(status)}",
            f"next: {_next(status)}",
        ]
    )


def listing(all_of_them: Iterable[Status]) -> str:
    """Return what `ls` prints: a line for each lab."""
    rows = [("NAME", "STATE", "MODE", "NODES", "PODS", "API", "AGE")]
    for status in all_of_them:
        if status["state"] != "running":
            rows.append((status["name"], status["state"], "", "", "", "", ""))
            continue
        rows.append(
            (
                status["name"],
                status["state"],
                status["mode"] or "-",
                str(len(_nodes(status))),
                f"{status['podsReady']}/{len(status['pods'])}",
                status["api"] or "-",
                age(status["ageSeconds"]),
            )
        )
    return "\n".join(fitting_lines(rows))


def details(status: Status) -> str:
    """Return what `status` prints of one lab."""
    facts = [
        ("lab", status["name"]),
        (
            "state",
            f"{status['state']} for {age(status['ageSeconds'])}, process {status['pid']}",
        ),
        ("mode", f"{status['mode'] or 'no proxy of kproxy'}, as kube-proxy {status['emulates']}"),
        *_options(status),
        ("version", status["version"]),
        ("kernel", status["kernel"]),
        ("network", status["network"]),
        ("source", status["source"]),
        ("pods", f"{status['podsReady']} of {len(status['pods'])} ready"),
        ("Services", str(status["services"])),
        ("API", status["api"] or "-"),
        ("memory", f"{status['memoryMiB']} MiB"),
    ]
    nodes = [("NODE", "ADDRESSES", "PROXY")]
    nodes += [(each["name"], ", ".join(each["addresses"]), _proxy(each)) for each in _nodes(status)]
    pods = [("POD", "NODE", "READY", "ADDRESSES")]
    pods += [
        (each["name"], each["node"], "yes" if each["ready"] else "no", ", ".join(each["addresses"]))
        for each in status["pods"]
    ]
    gone = [each["name"] for each in status["nodes"] if each.get("deleted")]
    if gone:
        facts.append(("deleted", f"{', '.join(gone)}: the host is there, and its Node is not"))
    blocks = [fitting_lines(facts), fitting_lines(nodes), fitting_lines(pods)]
    return "\n\n".join("\n".join(lines) for lines in blocks)


def age(seconds: float) -> str:
    """Return a duration as kubectl prints it: 5s, 3m12s, 2h5m, 3d4h.

    Source: apimachinery pkg/util/duration/duration.go (HumanDuration)
    """
    total = int(seconds)
    minutes, hours, days = total // 60, total // 3600, total // 86400
    if total < 120:
        return f"{total}s"
    if minutes < 10:
        return f"{minutes}m{total % 60}s" if total % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 2 * 365:
        return f"{days}d"
    years, rest = divmod(days, 365)
    return f"{years}y{rest}d" if rest and years < 8 else f"{years}y"


def _summary(status: Status) -> str:
    mode = f"{status['mode']} mode" if status["mode"] else "no proxy of kproxy"
    return (
        f"{mode}, {_count(len(_nodes(status)), 'node')}, "
        f"{status['podsReady']} of {_count(len(status['pods']), 'pod')} ready"
    )


def _options(status: Status) -> Iterator[tuple[str, str]]:
    if options := status["options"]:
        yield "options", ", ".join(f"{name}={value}" for name, value in options.items())
    if unused := status["unusedOptions"]:
        names = ", ".join(f"{name}={value}" for name, value in unused.items())
        yield "unused", f"{names}: {status['mode']} mode has no such option"


def _nodes(status: Status) -> list[Mapping[str, Any]]:
    """Return the hosts of nodes that have a Node."""
    return [each for each in status["nodes"] if not each.get("deleted")]


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _next(status: Status) -> str:
    if status["api"]:
        return f"export KUBECONFIG={shlex.quote(status['kubeconfig'])}"
    return f"kproxy shell --lab {status['name']} {status['nodes'][0]['name']}"


def _proxy(node: Mapping[str, Any]) -> str:
    if "commandPid" in node:
        ended = node["commandStatus"]
        return f"process {node['commandPid']}" if ended is None else f"ended, status {ended}"
    if "syncs" not in node:
        return "none"
    health = "" if node["healthy"] else ", not healthy"
    return f"{node['syncs']} syncs, {node['failures']} failures{health}"
