"""Makes the pictures of docs/ui.md: as root, `python -m netns_tests.ui.pictures`.

`pngquant` makes them small: a palette is enough for a page.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from netns_tests.ui.browser import Browser, Page, running
from netns_tests.ui.conftest import Served, open_live, serving
from netns_tests.ui.test_page import OUTSIDE, SHOP, choose, of
from netns_tests.up.machine import Machine, private_machine

FOLDER = Path("docs/pictures")
NODES, PODS = 20, 9
MEASURED = "document.getElementById('measure').textContent === 'Measure again'"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with running() as browser:
        with private_machine() as machine:
            machine.ok("up", "examples/lab/services.yaml", "--name", "shop")
            for name in ("cluster-ip", "external-local", "session-affinity", "headless"):
                machine.ok("apply", "-f", f"examples/services/{name}.yaml")
            with serving(machine) as served:
                walk(browser, served)
                policy(browser, served)
                rules(browser, served)
        with private_machine() as machine, tempfile.TemporaryDirectory() as folder:
            big(machine, Path(folder))
            with serving(machine) as served:
                many(browser, served)


def walk(browser: Browser, served: Served) -> None:
    page = open_live(browser, served)
    page.click(of(OUTSIDE))
    page.click(of(SHOP))
    to_translation(page)
    save(page, "ui-walk.png")


def policy(browser: Browser, served: Served) -> None:
    page = open_live(browser, served)
    page.click(of(SHOP))
    page.until("document.getElementById('policy-externalTrafficPolicy').value === 'Local'")
    choose(page, "#policy-externalTrafficPolicy", "Cluster")
    page.until(f"document.querySelector('.changes') && {MEASURED}")
    save(page, "ui-policy.png")


def rules(browser: Browser, served: Served) -> None:
    page = open_live(browser, served, prefers_color_scheme="dark")
    page.click(of(SHOP))
    page.until("document.querySelector('.rules code')")
    page.evaluate("document.querySelector('#rules-node').scrollIntoView()")
    save(page, "ui-rules.png")


def big(machine: Machine, folder: Path) -> None:
    """Start a lab of more than 200 hosts."""
    lines = ["name: many", "controlPlane: true", "clients: [{name: outside}]", "nodes:"]
    for node in range(1, NODES + 1):
        lines += [f"- name: node-{node}", "  pods:"]
        lines += [
            f"  - {{name: web-{node}-{pod}, labels: {{app: web}}, ports: [8080]}}"
            for pod in range(1, PODS + 1)
        ]
    (folder / "many.yaml").write_text("\n".join(lines))
    ports = "[{port: 80, targetPort: 8080}]"
    (folder / "shop.yaml").write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: shop}\n"
        f"spec: {{selector: {{app: web}}, type: NodePort, ports: {ports}}}\n"
    )
    machine.ok("up", str(folder / "many.yaml"))
    machine.ok("apply", "-f", str(folder / "shop.yaml"))


def many(browser: Browser, served: Served) -> None:
    page = open_live(browser, served, width=1920, height=1080, prefers_color_scheme="dark")
    page.click(of(OUTSIDE))
    page.click(of(SHOP))
    to_translation(page)
    save(page, "ui-many.png")


def to_translation(page: Page) -> None:
    """Step to the rule that translates the destination."""
    page.until("document.getElementById('play')")
    page.click("#play")
    page.click("#first")
    page.until(
        "document.getElementById('callout').innerText.includes('DNAT') ||"
        "document.getElementById('next').click()"
    )
    page.until("document.querySelector('.step.current').getBoundingClientRect().top < innerHeight")


def save(page: Page, name: str) -> None:
    page.evaluate("new Promise(done => setTimeout(done, 1000))")  # scrolling is smooth
    page.screenshot(FOLDER / name)
    options = ["--force", "--strip", "--nofs", f"--output={FOLDER / name}", "200"]
    subprocess.run(["pngquant", *options, str(FOLDER / name)], check=True)


if __name__ == "__main__":
    main()
