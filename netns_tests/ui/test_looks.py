"""All of the page can be read: long names, many Services, both families, zoomed, by ear."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from netns_tests.ui.browser import Browser, Page
from netns_tests.ui.conftest import Served, open_live, serving
from netns_tests.ui.test_page import OUTSIDE, choose, of
from netns_tests.up.machine import private_machine

LONG = "a-name-of-63-characters-that-somebody-has-really-given-to-it-xx"
LAB = """
name: ugly
controlPlane: true
families: [IPv4, IPv6]
clients: [{name: outside}, {name: a-client-with-a-rather-long-name-indeed}]
nodes:
- name: ip-192-168-10-11-eu-central-1-compute-internal
  zone: eu-central-1a
  pods: [{name: web-deployment-7d4b9c6f5b-x2x9q-and-more, labels: {app: web}, ports: [8080]}]
- {name: node-b, pods: [{name: web-1, labels: {app: web}, ports: [8080]}, {name: shell}]}
"""
WEB: dict[str, Any] = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
PORTS = [
    {"name": f"p{i}", "port": 8000 + i, "protocol": "UDP" if i % 2 else "TCP"} for i in range(6)
]
SPECS: dict[str, dict[str, Any]] = {
    LONG: WEB | {"type": "LoadBalancer", "externalTrafficPolicy": "Local"},
    "dual": WEB | {"ipFamilyPolicy": "RequireDualStack", "sessionAffinity": "ClientIP"},
    "six": WEB | {"ipFamilies": ["IPv6"]},
    "headless": WEB | {"clusterIP": "None"},
    "elsewhere": {"type": "ExternalName", "externalName": f"{LONG}.example.com"},
    "ports": WEB | {"type": "NodePort", "ports": PORTS},
} | {f"nobody-{i}": WEB | {"selector": {"app": "nobody"}} for i in range(24)}
SHOWN = of(f"service/default/{LONG}")
WIDTHS = (1280, 640, 320)  # 640 and 320: zoomed to 200 and 400 %
SCHEMES = ("light", "dark")
CONTROLS = ("button", "combobox", "textbox", "tab", "tabpanel", "progressbar")
MEASURED = "document.getElementById('measure').textContent === 'Measure again'"

# Returns each text whose contrast to what is behind it is less than WCAG's 4.5 to 1.
FAINT = """(() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (a, b, part) => a.map((each, i) => each * part + b[i] * (1 - part));
  const light = (colour) => {
    const [r, g, b] = colour.map((each) => each / 255)
      .map((each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    if (!element) return [255, 255, 255];
    const [r, g, b, a] = rgba(getComputedStyle(element).backgroundColor);
    return over([r, g, b], behind(element.parentElement), a);
  };
  const opacity = (element) =>
    element ? getComputedStyle(element).opacity * opacity(element.parentElement) : 1;
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].find((each) => each.nodeType === 3 && each.data.trim());
    if (!text || !element.checkVisibility()) continue;
    if (element.matches(":disabled, option, noscript")) continue;
    const ground = behind(element);
    const [r, g, b, a] = rgba(getComputedStyle(element).color);
    const both = [over([r, g, b], ground, a * opacity(element)), ground].map(light);
    const contrast = (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
    if (contrast < 4.5) found.push(`${text.data.trim()}: ${contrast.toFixed(1)}`);
  }
  return found;
})()"""


@pytest.fixture(scope="module")
def ugly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("ugly")
    (folder / "lab.yaml").write_text(LAB)
    services = [
        json.dumps(
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
        )
        for name, spec in SPECS.items()
    ]
    (folder / "services.yaml").write_text("\n---\n".join(services))
    with private_machine() as machine:
        machine.ok("up", str(folder / "lab.yaml"))
        machine.ok("apply", "-f", str(folder / "services.yaml"))
        with serving(machine) as found:
            yield found


def measure(page: Page) -> None:
    number = "Number(document.getElementById('matrix-status').dataset.number ?? 0)"
    page.click("#tab-matrix")
    before = page.evaluate(number)
    page.click("#measure")
    page.until(f"{number} > {before} && {MEASURED}")


def everything(page: Page) -> Iterator[str]:
    """Lead the page through what it can show; yield the name of each."""
    page.until(f"document.querySelector('{SHOWN}')")
    yield "the beginning"
    page.click(SHOWN)
    page.until("document.querySelector('.rules code')")
    yield "a Service"
    page.click(of(OUTSIDE))
    page.click(SHOWN)
    page.until("document.querySelector('.callout:not([hidden])')")
    page.click("#last")
    page.until("document.querySelector('.callout strong')")
    yield "a walk"
    measure(page)
    yield "the matrix"
    page.click("#tab-events")
    page.until("document.querySelector('#events :is(li, p)')")
    yield "events"


class Look(NamedTuple):
    """The page at one moment. `faint` has texts, by colour scheme."""

    faint: Mapping[str, Any]
    controls: list[dict[str, Any]]
    width: int
    cut: list[str]


class Walk(NamedTuple):
    """All that the page has shown in a window of one width, and where its first title was."""

    looks: Mapping[str, Look]
    title: float
    faults: list[str]


def look(page: Page) -> Look:
    faint = {}
    for scheme in SCHEMES:
        page.prefer({"prefers-color-scheme": scheme})
        faint[scheme] = page.evaluate(FAINT)
    return Look(
        faint,
        [
            node
            for node in page.call("Accessibility.getFullAXTree")["nodes"]
            if node.get("role", {}).get("value") in CONTROLS
        ],
        page.evaluate("document.documentElement.scrollWidth"),
        page.evaluate(
            "[...document.querySelectorAll('.picture [data-entity]')]"
            ".filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.innerText)"
        ),
    )


@pytest.fixture(scope="module")
def walks(chromium: Browser, ugly: Served) -> Callable[[int], Walk]:
    """Return a function that leads the page through everything, once for each width."""

    @cache
    def walked(width: int) -> Walk:
        page = open_live(chromium, ugly, width=width)
        looks = {shown: look(page) for shown in everything(page)}
        top = "parseFloat(getComputedStyle(document.getElementById('tier-clients'),'::before').top)"
        title = page.evaluate(f"document.getElementById('tier-clients').offsetTop + {top}")
        faults = page.faults()
        chromium.close_pages()
        return Walk(looks, title, faults)

    return walked


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_text_stands_out(walks: Callable[[int], Walk], scheme: str) -> None:
    walk = walks(WIDTHS[0])
    for shown, each in walk.looks.items():
        assert (shown, each.faint[scheme]) == (shown, [])
    assert walk.faults == []


def test_every_control_has_a_name(walks: Callable[[int], Walk]) -> None:
    named = 0
    for shown, each in walks(WIDTHS[0]).looks.items():
        for node in each.controls:
            assert node.get("name", {}).get("value", "").strip(), (shown, node)
            named += 1
    assert named > 200


@pytest.mark.parametrize("width", WIDTHS)
def test_names_are_wrapped_and_nothing_is_cut_off(walks: Callable[[int], Walk], width: int) -> None:
    walk = walks(width)
    for shown, each in walk.looks.items():
        assert (shown, each.width, each.cut) == (shown, width, [])
    assert walk.title >= 0


def test_a_service_says_why_it_cannot_be_asked(browser: Browser, ugly: Served) -> None:
    page = open_live(browser, ugly)

    def said(name: str) -> str:
        return page.text(of(f"service/default/{name}"))

    page.until(f"document.querySelector('{of('service/default/elsewhere')}')")
    assert "no endpoints" in said("nobody-1")
    assert "no endpoints" not in said("elsewhere")
    assert "headless 80" in said("headless")
    assert "no IPv4 address" in said("six")
    choose(page, "#family", "IPv6")
    page.until(f"document.querySelector('{of('service/default/six')}').innerText.includes('fd00:')")
    assert "no IPv6 address" in said("nobody-1")
    page.click(of("host/shell"))
    page.click(of("service/default/nobody-2"))
    page.until("document.querySelector('p.problem')")
    assert "has no address in IPv6" in page.text("p.problem")


def test_the_heads_of_a_long_matrix_stay(browser: Browser, ugly: Served) -> None:
    page = open_live(browser, ugly)
    measure(page)
    place = "(e => e.getBoundingClientRect())(document.querySelector('.matrix thead th'))"
    before = page.evaluate(f"{place}.top")
    page.evaluate("document.querySelector('.matrix td button').focus()")
    page.press(*["ArrowDown"] * 30)
    page.until("document.querySelector('.grid').scrollTop > 100")
    assert page.evaluate(f"{place}.top") == before
    seen = "(e => e.getBoundingClientRect())(document.activeElement).top"
    page.press(*["ArrowUp"] * 12)
    page.until(f"{seen} >= {place}.bottom")  # the focus is not below the head
