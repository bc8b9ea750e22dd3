"""Everything that a person does with the page, in a real browser, on a real lab."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from netns_tests.ui.browser import Browser, Page
from netns_tests.ui.conftest import Served, open_live

OUTSIDE, SHELL = "host/outside", "host/shell"
WEB, SHOP = "service/default/web", "service/default/shop"
WIDTHS = [(1280, 800), (3840, 2160)]
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
LIGHT, DARK = "rgb(243, 245, 249)", "rgb(13, 18, 32)"


def of(entity: str) -> str:
    return f'[data-entity="{entity}"]'


def focused(page: Page) -> str:
    """Return the entity or else the id of the element that has the focus."""
    return str(
        page.evaluate("document.activeElement.dataset.entity || document.activeElement.id || ''")
    )


def to_the_end(page: Page) -> str:
    """Wait for an answer, skip the walk, and return the sentence."""
    page.until("document.querySelector('.sentence')")
    page.click("#last")
    page.until("document.querySelector('.callout strong')")
    return page.text(".sentence")


def test_the_picture_has_all_hosts_services_and_endpoints(page: Page) -> None:
    for host in ("outside", "router", "node-a", "node-b", "node-c", "shell", "database"):
        assert host in page.text(of(f"host/{host}"))
    assert "10.244.3.11" in page.text(of(SHELL))
    assert "eth0 - shell on node-c" in page.evaluate(f"document.querySelector('{of(SHELL)}').title")
    assert "ClusterIP" in page.text(of(WEB))
    assert page.evaluate(f"document.querySelectorAll('{of(WEB)} .dot.ready').length") == 2
    assert page.evaluate("document.querySelectorAll('#links .cable').length") == 4


def test_ipv6_addresses_are_shown_when_asked_for(page: Page) -> None:
    choose(page, "#family", "IPv6")
    page.until(f"document.querySelector('{of(SHELL)}').innerText.includes('fd00:10:244:3::11')")


def test_a_click_on_a_client_and_a_service_shows_the_way(page: Page) -> None:
    page.click(of(OUTSIDE))
    page.click(of(SHOP))
    page.until("!document.getElementById('packet').hidden")
    hosts = page.until("[...document.querySelectorAll('.hop-head b')].map(each => each.innerText)")
    assert hosts[0] == hosts[-1] == "outside"
    assert "router" in hosts
    assert page.evaluate("document.querySelectorAll('.step code').length") > 3
    assert "DNAT" in page.text(".hops")
    assert "Delivered" in to_the_end(page)
    moves = sum(before != after for before, after in pairwise(hosts))
    assert page.evaluate("document.querySelectorAll('#trails .trail').length") == moves


def test_a_refusal_is_walked_to_where_it_is_made(page: Page) -> None:
    page.click(of(OUTSIDE))
    page.evaluate("document.getElementById('to').value = '10.96.255.254:80'")
    page.click("#send")
    assert "Refused at router" in to_the_end(page)


def test_the_walk_goes_on_by_itself_and_stops_when_told(page: Page) -> None:
    page.click(of(SHELL))
    page.click(of(WEB))
    page.until("document.getElementById('progress')?.value > 0")
    page.click("#play")
    at = page.evaluate("document.getElementById('progress').value")
    page.click("#next")
    assert page.evaluate("document.getElementById('progress').value") == at + 1
    page.click("#back")
    page.click("#back")
    assert page.evaluate("document.getElementById('progress').value") == at - 1
    page.click("#first")
    assert page.evaluate("document.getElementById('progress').value") == 0


def test_a_mistake_is_answered_in_words(page: Page) -> None:
    for text, said in (("nonsense", "neither a Service nor"), ("10.0.0.1:99999", "port")):
        page.evaluate(f"document.getElementById('to').value = {json.dumps(text)}")
        page.click("#send")
        page.until("document.querySelector('p.problem')")
        assert said in page.text("p.problem")


def test_all_of_it_works_without_a_mouse(page: Page) -> None:
    page.evaluate("document.getElementById('send').focus()")
    page.press("Tab")
    assert focused(page) == OUTSIDE
    page.press("Enter")
    page.until("document.querySelector('.from')")
    page.press("ArrowDown")
    assert focused(page) == "host/router"
    page.press("End", "Home", "ArrowDown", "ArrowDown")
    assert focused(page).startswith("host/node-")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"  # the focus is seen
    page.evaluate(f"document.querySelector('{of(WEB)}').focus()")
    page.press("Enter")
    page.until("document.querySelector('.hop')")
    page.evaluate("document.getElementById('walk').focus()")
    page.press("End")
    page.until("document.querySelector('.callout strong')")
    page.press("Home", "ArrowRight", "ArrowRight")
    assert page.evaluate("document.getElementById('progress').value") == 2
    page.evaluate("document.getElementById('tab-walk').focus()")
    page.press("ArrowRight")
    assert focused(page) == "tab-service"
    assert page.evaluate("!document.getElementById('service').hidden")


def test_a_host_itself_is_asked_with_t(page: Page) -> None:
    page.click(of(SHELL))
    page.evaluate(f"document.querySelector('{of('host/database')}').focus()")
    page.press("t")
    page.until("document.querySelector('.sentence')")
    assert "10.244.2.11:" in page.text("#walk h2")


def test_the_panel_of_a_service_has_its_addresses_endpoints_and_rules(page: Page) -> None:
    page.click(of(SHOP))
    page.until("!document.getElementById('service').hidden")
    shown = page.text("#service")
    assert "node port of node-b" in shown
    assert "8080 shop-" in shown
    page.until("document.querySelector('.rules code')?.innerText.includes('KUBE-')")


def choose(page: Page, selector: str, value: str) -> None:
    """Choose an option of a field, as a person does."""
    page.evaluate(
        f"(() => {{ const field = document.querySelector('{selector}');"
        f"field.value = '{value}'; field.dispatchEvent(new Event('change', {{bubbles: true}}));"
        "})()"
    )


def test_the_matrix_fills_up_and_its_cells_are_questions(page: Page) -> None:
    page.click("#tab-matrix")
    page.click("#measure")
    page.until("document.getElementById('measure').textContent === 'Measure again'")
    measured = page.text("#matrix-status").split()
    assert measured[0] == measured[2]
    assert "predicted" not in measured
    page.evaluate("document.querySelector('.matrix td button').focus()")
    page.press("ArrowRight")
    page.press("ArrowDown")
    place = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert place.startswith("web-1 to 192.168.30.1:80: ")
    page.press("Enter")
    page.until("document.querySelector('.sentence')")
    assert page.text("#walk h2") == "web-1 → 192.168.30.1:80 TCP"


def test_a_policy_is_changed_and_its_effect_shown(page: Page) -> None:
    page.click(of(SHOP))
    page.until("document.getElementById('policy-externalTrafficPolicy').value === 'Local'")
    choose(page, "#policy-externalTrafficPolicy", "Cluster")
    page.until("document.querySelector('.changes tbody tr')")
    page.until("document.getElementById('measure').textContent === 'Measure again'")
    changed = page.evaluate("document.querySelectorAll('.changes tbody tr').length")
    assert changed < page.evaluate("document.querySelectorAll('.matrix td button').length")
    words = page.text(".changes tbody")
    assert "outside → 192.168.10.11:" in words  # a node without an endpoint answers now
    assert "dropped at node-a" in words
    page.until(f"document.querySelector('{of(SHOP)}').innerText.includes('ext Local') === false")
    choose(page, "#policy-externalTrafficPolicy", "Local")
    page.until(f"document.querySelector('{of(SHOP)}').innerText.includes('ext Local')")


def test_a_change_draws_the_rules_once_when_they_have_come(page: Page) -> None:
    page.click(of(SHOP))
    page.until("document.querySelector('ol.rules')")
    page.evaluate(
        "window.drawn = 0; new MutationObserver((all) => { for (const each of all)"
        " for (const one of each.addedNodes) window.drawn += one.matches?.('ol.rules') ? 1 : 0;"
        "}).observe(document.getElementById('service'), { childList: true, subtree: true })"
    )
    choose(page, "#policy-sessionAffinity", "ClientIP")
    page.until("document.querySelector('ol.rules').innerText.includes('--rsource')")
    assert page.evaluate("window.drawn") == 1
    choose(page, "#policy-sessionAffinity", "None")
    page.until("!document.querySelector('ol.rules').innerText.includes('--rsource')")
    assert page.evaluate("window.drawn") == 2


def test_the_mode_is_changed_and_its_effect_shown(page: Page, served: Served) -> None:
    choose(page, "#mode", "nftables")
    page.click("#tab-events")
    page.until("document.getElementById('events').textContent.includes('iptables → nftables')")
    assert served.machine.values("status")["mode"] == "nftables"
    page.until("document.getElementById('differences').textContent.includes('is different')")
    page.until("document.getElementById('measure').textContent === 'Measure again'")
    assert "not as predicted" not in page.text("#matrix-status")
    choose(page, "#mode", "iptables")
    page.click("#tab-events")
    page.until("document.getElementById('events').textContent.includes('nftables → iptables')")


def test_a_change_is_on_the_page_at_once(page: Page, served: Served) -> None:
    served.machine.ok("apply", "-f", "examples/services/session-affinity.yaml")
    page.until(f"document.querySelector('{of('service/default/cart')}')")
    page.until(f"document.querySelectorAll('{of('service/default/cart')} .dot.ready').length === 3")
    page.click("#tab-events")
    page.until("document.querySelector('.events')?.innerText.includes('cart')")
    served.machine.ok("delete", "-f", "examples/services/session-affinity.yaml")
    page.until(f"!document.querySelector('{of('service/default/cart')}')")
    page.until("!document.getElementById('tier-nodes').innerText.includes('cart')")


@pytest.mark.parametrize(("scheme", "shown"), [("light", LIGHT), ("dark", DARK)])
def test_the_colours_are_those_of_the_system_or_those_chosen(
    browser: Browser, served: Served, scheme: str, shown: str
) -> None:
    page = open_live(browser, served, prefers_color_scheme=scheme)
    assert page.evaluate(BACKGROUND) == shown
    page.click("#theme")  # light
    assert page.evaluate(BACKGROUND) == LIGHT
    page.click("#theme")  # dark
    assert page.evaluate(BACKGROUND) == DARK
    assert page.faults() == []


@pytest.mark.parametrize(("width", "height"), WIDTHS)
def test_nothing_is_cut_off(browser: Browser, served: Served, width: int, height: int) -> None:
    page = open_live(browser, served, width=width, height=height)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(
        "[...document.querySelectorAll('.picture [data-entity]')]"
        ".every(e => e.scrollWidth <= e.clientWidth + 1)"
    )
    assert page.evaluate("document.querySelector('.picture').scrollHeight") <= height
    assert page.faults() == []


def test_who_wants_no_motion_gets_none(browser: Browser, served: Served) -> None:
    page = open_live(browser, served, prefers_reduced_motion="reduce")
    page.click(of(SHELL))
    page.click(of(WEB))
    page.until("document.getElementById('progress')?.value > 1")
    assert page.evaluate("document.getAnimations().length") == 0
    assert page.faults() == []


def test_the_page_asks_for_nothing_foreign_and_is_small(page: Page, served: Served) -> None:
    assert all(each["url"].startswith(served.origin) for each in page.sent())
    assert len(page.sent()) > 5
    folder = Path("kproxy/ui/page")
    assert sum(path.stat().st_size for path in folder.iterdir()) < 300 << 10


def test_without_the_token_the_page_says_so(browser: Browser, served: Served) -> None:
    page = browser.open(f"{served.origin}/")
    page.until("document.querySelector('.state.denied')")
    assert "outside" not in page.text("body")


def test_the_token_is_taken_out_of_the_address_and_lasts_for_a_reload(page: Page) -> None:
    assert page.evaluate("location.href").endswith("/")
    page.call("Page.reload")
    page.until("document.querySelector('.state.live') && document.querySelector('.service')")
