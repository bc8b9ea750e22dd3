"""The page and its server: who comes, goes and comes back."""

from __future__ import annotations

import signal

import pytest

from netns_tests.ui.browser import Browser, Page
from netns_tests.ui.conftest import Served, open_live, serving
from netns_tests.ui.test_page import OUTSIDE, SHOP, WEB, choose, of
from netns_tests.up.machine import private_machine

LIVE = "document.querySelector('.state.live') && document.querySelector('.service')"


def test_an_open_page_goes_on_when_its_server_is_back_and_tells_when_the_lab_ends(
    browser: Browser,
) -> None:
    with private_machine() as machine:
        machine.ok("up", "--name", "back", "--mode", "nftables", "--nftables-layout", "flat")
        with serving(machine) as first:
            page = open_live(browser, first)
            first.process.send_signal(signal.SIGINT)
            page.until("document.querySelector('.state.lost')")
            page.click(of(OUTSIDE))
            page.click(of("service/default/kubernetes"))
            page.until("document.querySelector('p.problem')?.innerText.includes('no connection')")
            machine.ok("apply", "-f", "examples/services/cluster-ip.yaml")
            first.process.wait()
        with serving(machine) as again:
            assert again.address == first.address
            page.until(LIVE)
            page.until(f"document.querySelector('{of(WEB)}')")
            facts = "document.getElementById('facts').innerText"
            assert "nftablesLayout: flat\n" in page.evaluate(facts) + "\n"
            choose(page, "#mode", "iptables")
            page.until(f"{facts}.includes('nftablesLayout: flat is not used')")
            with serving(machine) as beside:  # the port is taken
                assert (beside.token, beside.origin != again.origin) == (again.token, True)
            machine.ok("down", "back")
            page.until("document.querySelector('.state.gone')")
            assert "the lab has ended" in page.text("#state")
            assert again.process.wait() == 0


@pytest.mark.parametrize("token", ["", "wrong"])
def test_the_right_address_opens_the_page_in_the_tab_that_was_refused(
    browser: Browser, served: Served, token: str
) -> None:
    page = browser.open(f"{served.origin}/{token and f'#token={token}'}")
    page.until("document.querySelector('.state.denied')")
    assert "open the address that `kproxy ui` prints" in page.text("#state")
    page.call("Page.navigate", url=served.address)
    page.until(LIVE)


def test_the_page_is_there_after_a_way_back(page: Page) -> None:
    page.call("Page.navigate", url="about:blank")
    page.until("location.href === 'about:blank' && document.readyState === 'complete'")
    history = page.call("Page.getNavigationHistory")
    before = history["entries"][history["currentIndex"] - 1]
    assert "token" not in before["url"]
    page.call("Page.navigateToHistoryEntry", entryId=before["id"])
    page.until(f"location.href !== 'about:blank' && {LIVE}")


def test_no_request_tells_where_it_comes_from(page: Page, served: Served) -> None:
    page.click(of(OUTSIDE))
    page.click(of(SHOP))
    page.until("document.querySelector('.sentence')")
    sent = page.sent()
    assert len(sent) > 5
    assert {each["headers"].get("Referer", "") for each in sent} == {""}
    assert not any(served.token in each["url"] for each in sent)


def test_two_browsers_see_the_same(browser: Browser, served: Served) -> None:
    """Each changes something at once, and both see the effect of both."""
    pages = [open_live(browser, served) for _ in range(2)]
    for each in pages:
        each.click(of(SHOP))
        each.until("document.getElementById('policy-externalTrafficPolicy')")
    choose(pages[0], "#policy-externalTrafficPolicy", "Cluster")
    choose(pages[1], "#policy-sessionAffinity", "ClientIP")
    for each in pages:
        each.until(f"document.querySelector('{of(SHOP)}').innerText.includes('affinity')")
        each.until(f"!document.querySelector('{of(SHOP)}').innerText.includes('ext Local')")
        each.until("document.getElementById('measure').textContent === 'Measure again'")
        each.until("document.getElementById('differences').textContent.includes('different')")
    choose(pages[0], "#policy-sessionAffinity", "None")
    choose(pages[0], "#policy-externalTrafficPolicy", "Local")
    for each in pages:
        each.until(f"document.querySelector('{of(SHOP)}').innerText.includes('ext Local')")
        assert each.faults() == []
