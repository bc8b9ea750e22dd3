"""An itinerary as a picture: hosts from left to right, the packet from top to bottom. Pure.

    client     node-b     router      web
      |          |          |          |
     (1)-------->|          |          |      10.244.2.11:20000 -> 10.96.0.10:80
      |         DNAT to 10.244.1.11:8080
      |         (2)-------->|          |

SVG without any other file, with colours for light and dark pages. Where the packet came from, or
went to, what was not watched is a line of its own at the side.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from kproxy.explain.itinerary import UNKNOWN, Ends, Hop, Itinerary, place

WIDTH = 1280
_MARGIN = 24
_CHARACTER, _BOLD = 7.4, 8.4  # the widths of letters, by measurement
_TOP, _ARROW, _NOTE, _GAP = 120, 40, 22, 18
_HEAD_HEIGHT = 46
_NAMESPACE = 'xmlns="http://www.w3.org/2000/svg"'
_ROUNDS = 4  # hops of a packet that goes round are drawn, and not more
_WORDS = 165  # characters of a line of the sentence
_BEFORE, _BEYOND = "<", ">"  # no names of hosts
_NOT_WATCHED = "not watched"
_STYLE = """
svg { --page: #ffffff; --ink: #1b1f24; --faint: #59636e; --line: #c4cad1; --box: #f3f5f7;
  --request: #0b62c4; --reply: #1a7f37; --error: #c21f2b; --change: #8a4b00; }
@media screen and (prefers-color-scheme: dark) { svg { --page: #0f1318; --ink: #e6e9ec;
  --faint: #8b949e; --line: #3a424c; --box: #1b2129; --request: #6cb2ff; --reply: #56d364;
  --error: #ff7b72; --change: #f0a35e; } }
text { font: 13px ui-sans-serif, system-ui, sans-serif; fill: var(--ink); }
text.ends { font: 12px ui-monospace, monospace; paint-order: stroke; stroke: var(--page);
  stroke-width: 5px; stroke-linejoin: round; }
text.title { font-size: 17px; font-weight: 600; }
text.name { font-weight: 600; }
text.kind { fill: var(--faint); }
text.change { fill: var(--change); font-weight: 600; paint-order: stroke; stroke: var(--page);
  stroke-width: 5px; }
text.end { fill: var(--error); font-weight: 600; paint-order: stroke; stroke: var(--page);
  stroke-width: 5px; }
text.failed { fill: var(--error); }
text.number { font-size: 11px; font-weight: 600; fill: var(--page); }
rect.page { fill: var(--page); }
rect.host { fill: var(--box); stroke: var(--line); }
line.life { stroke: var(--line); stroke-dasharray: 3 4; }
.request { stroke: var(--request); fill: var(--request); }
.reply { stroke: var(--reply); fill: var(--reply); }
.error { stroke: var(--error); fill: var(--error); }
line.request, line.reply, line.error { stroke-width: 2; }
"""


def picture(itinerary: Itinerary) -> str:
    """Return the itinerary as SVG, 1280 units wide and as high as it needs."""
    hosts = _hosts(itinerary)
    step = (WIDTH - 2 * _MARGIN) / max(1, len(hosts))  # none, if its client had no route
    places = {host: _MARGIN + step * (place + 0.5) for place, host in enumerate(hosts)}
    body, y = _way(itinerary, places)
    lives = [
        f'<line class="life" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{y:.1f}"/>'
        for x in places.values()
    ]
    sentence = textwrap.wrap(itinerary.sentence, _WORDS)
    words = "words" if itinerary.answered else "failed"
    end = [_text(words, _MARGIN, y + 30 + 19 * line, text) for line, text in enumerate(sentence)]
    height = y + 30 + 19 * len(sentence) + _MARGIN
    return "\n".join(
        [
            f'<svg {_NAMESPACE} viewBox="0 0 {WIDTH} {height:.0f}" role="img">',
            f"<title>{escape(itinerary.title)}</title>",
            f"<style>{_STYLE}</style>",
            f'<rect class="page" width="{WIDTH}" height="{height:.0f}"/>',
            _text("title", _MARGIN, 36, itinerary.title),
            *lives,
            *(line for host, x in places.items() for line in _head(host, hosts[host], x, step)),
            *body,
            *end,
            "</svg>\n",
        ]
    )


def _way(itinerary: Itinerary, places: dict[str, float]) -> tuple[list[str], float]:
    """Return the hops, each with its notes and the arrow from it, and where they end."""
    hops, names = itinerary.hops, itinerary.named
    lines: list[str] = []
    y, role, folded = float(_TOP + _GAP), "", 0
    for number, hop in enumerate(hops, 1):
        if number <= folded:
            continue
        before, beyond = (_BEFORE, _BEYOND) if hop.role == "request" else (_BEYOND, _BEFORE)
        x = places[hop.host]
        if hop.role != role and hop.entry and before in places:
            y += _GAP if role else 0
            lines += _arrow(hop.role, places[before], x, y, _ends(hop.before, names))
            y += _NOTE
        role = hop.role
        following = hops[number] if number < len(hops) and hops[number].role == role else None
        stays = following is not None and following.host == hop.host
        to, ends = "", hop.after
        if following:
            to, ends = following.host, following.before
        elif hop.exit and beyond in places:
            to = beyond
        notes = [] if stays and ends == hop.before else [*_notes(hop, names)]
        if number == len(hops) and not to and _is_lost(itinerary) and not _are_ends(notes):
            notes.append(("end", "it ends here"))
        for kind, note in notes:
            lines.append(_beside(kind, x, y + 14, note))
            y += _NOTE
        y += _GAP
        if stays:
            lines.append(_beside("ends", x, y + 16, _ends(ends, names)))
        elif to:
            lines += _arrow(role, x, places[to], y + 12, _ends(ends, names))
        lines += [
            f'<circle class="{role}" cx="{x:.1f}" cy="{y + 12:.1f}" r="10"/>',
            _text("number", x, y + 16, str(number), anchor="middle"),
        ]
        y += _ARROW if to else _ARROW - 8
        if again := _again(hops, number):
            folded = number + again
            lines.append(_beside("kind", x, y + 14, f"and so on, {again} hops more"))
            y += _NOTE
    return lines, y


def _is_lost(itinerary: Itinerary) -> bool:
    """Tell whether nobody has seen the packet after its last hop, and nobody told its sender.

    An answer that came to its host is not lost: a proxy's, which has accepted what it cannot serve.
    """
    last = itinerary.hops[-1]
    came = last.role.endswith("reply") and not last.exit and last.host != itinerary.at
    told = itinerary.answered or last.role.endswith("error") or came
    return itinerary.outcome != UNKNOWN and not told


def _are_ends(notes: Sequence[tuple[str, str]]) -> bool:
    return any(kind == "end" for kind, _ in notes)


def _again(hops: Sequence[Hop], number: int) -> int:
    """Return how many hops after the first `number` are like those two hops before, of a packet
    that goes round between two hosts; 0 if they are few.
    """
    count = 0
    for former, hop in zip(hops[number - 2 :], hops[number:], strict=False):
        if number < 2 or _seen(former) != _seen(hop):
            break
        count += 1
    return count if count > _ROUNDS else 0


def _seen(hop: Hop) -> tuple[object, ...]:
    return hop.host, hop.role, hop.before, hop.after


def _head(host: str, kind: str, x: float, step: float) -> Iterator[str]:
    width = min(step - 8, 170)
    yield (
        f'<rect class="host" x="{x - width / 2:.1f}" y="{_TOP - _HEAD_HEIGHT - 6}" '
        f'width="{width:.1f}" height="{_HEAD_HEIGHT}" rx="6"/>'
    )
    fits = max(3, int((width - 8) / _BOLD))
    name = host if len(host) <= fits else host[: fits - 1] + "…"
    if host in (_BEFORE, _BEYOND):
        yield _text("kind", x, _TOP - _HEAD_HEIGHT + 22, kind, anchor="middle")
        return
    yield _text("name", x, _TOP - _HEAD_HEIGHT + 13, name, anchor="middle")
    yield _text("kind", x, _TOP - _HEAD_HEIGHT + 31, kind, anchor="middle")


def _hosts(itinerary: Itinerary) -> dict[str, str]:
    """Return all hosts in order, and the kind of each; also what was not watched at both sides."""
    hops = itinerary.hops
    hosts = {hop.host: hop.kind for hop in hops}
    if not itinerary.unseen:
        return hosts
    asked = [hop for hop in hops if hop.role == "request"]
    before = {_BEFORE: _NOT_WATCHED} if asked and asked[0].entry else {}
    beyond = {_BEYOND: _NOT_WATCHED} if asked and asked[-1].exit not in ("", "lo") else {}
    return {**before, **hosts, **beyond}


def _arrow(role: str, x: float, to: float, y: float, label: str) -> Iterator[str]:
    side = 1 if to >= x else -1
    tip = to - side * 3
    yield f'<line class="{role}" x1="{x:.1f}" y1="{y:.1f}" x2="{tip - side * 6:.1f}" y2="{y:.1f}"/>'
    yield f'<path class="{role}" d="M{tip:.1f} {y:.1f} l{-side * 9} -5 v10 z"/>'
    yield _centred("ends", (x + to) / 2, y - 13, label)


def _notes(hop: Hop, names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what was done to the packet on a host, each with the class of its text."""
    before, after = hop.before, hop.after
    if hop.role == "onward request" and not hop.entry:
        yield "change", "a connection of its own"
    effects = {step.effect for step in hop.steps}
    if (before.destination, before.destination_port) != (after.destination, after.destination_port):
        by = "IPVS" if hop.ipvs else "DNAT" if "dnat" in effects else "translated"
        yield "change", f"{by} to {_named(after.destination, after.destination_port, names)}"
    if (before.source, before.source_port) != (after.source, after.source_port):
        by = "SNAT" if effects & {"snat", "masquerade"} else "translated"
        yield "change", f"{by} from {_named(after.source, after.source_port, names)}"
    for step in hop.steps:
        if step.effect in ("drop", "reject"):
            yield "end", f"{step.effect} by {step.table} {step.chain}"
    if hop.role.endswith("error") and not hop.entry:
        yield "end", hop.packet


def _beside(kind: str, x: float, y: float, text: str) -> str:
    """Return a text to the right of a lifeline, or to its left if there is no room."""
    if x + 16 + _BOLD * len(text) <= WIDTH - _MARGIN:
        return _text(kind, x + 16, y, text)
    return _text(kind, x - 16, y, text, anchor="end")


def _centred(kind: str, x: float, y: float, text: str) -> str:
    """Return a text in the middle, moved aside if it would leave the picture."""
    half = _CHARACTER * len(text) / 2
    return _text(
        kind, min(max(x, _MARGIN + half), WIDTH - _MARGIN - half), y, text, anchor="middle"
    )


def _text(kind: str, x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _ends(ends: Ends, names: Mapping[str, str]) -> str:
    """Return the ends of an arrow, by their names alone if they have any."""
    source = _short(ends.source, ends.source_port, names)
    return f"{source} → {_short(ends.destination, ends.destination_port, names)}"


def _short(address: str, port: int, names: Mapping[str, str]) -> str:
    found = place(address, port)
    return place(names[found], port) if found in names else found


def _named(address: str, port: int, names: Mapping[str, str]) -> str:
    found = place(address, port)
    return f"{found} ({names[found]})" if found in names else found
