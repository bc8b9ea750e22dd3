"""kproxy's own commands on user-mode Linux: when they move there, and when they must not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kproxy.backend import load
from kproxy.cli.kernel import is_needed
from kproxy.kernel.ipvs import has_ipvs

KPROXY = (sys.executable, "-m", "kproxy")
EXAMPLES = str(Path(__file__).parents[2] / "examples")
RUN = ("run", "--hostname-override=node-a", f"--manifests={EXAMPLES}", "--proxy-mode=ipvs")
BENCH = ("bench", "sync", "--services=1", "--changes=1", "--variant=legacy", "--json")
SAYS = "kproxy: running on user-mode Linux instead\n"


def kproxy(*arguments: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, *KPROXY, *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


NEEDED = [  # --kernel, mode -> moves there
    ("auto", "iptables", False),
    ("auto", "ipvs", "without IPVS"),
    ("host", "ipvs", False),
    ("uml", "iptables", True),
    ("uml", "ipvs", True),
]


@pytest.mark.parametrize(("kernel", "mode", "needed"), NEEDED)
def test_when_it_is_needed(kernel: str, mode: str, needed: bool | str) -> None:
    assert is_needed(kernel, load(mode)) == (not has_ipvs() if needed == "without IPVS" else needed)


def test_the_same_command_line_and_not_again_inside() -> None:
    done = kproxy(*BENCH, "--kernel=uml")
    assert (done.stderr, done.returncode) == (SAYS, 0)
    assert json.loads(done.stdout)["size"]["services"] == 1
    launcher = (sys.executable, "-m", "kproxy.kernel.uml", "--kernel=uml")
    done = kproxy(*BENCH, "--kernel=uml", before=launcher)
    assert (done.stderr, done.returncode) == ("", 0)
    assert json.loads(done.stdout)["size"]["services"] == 1


def test_a_lab_finds_its_namespace_there() -> None:
    done = kproxy(*RUN, "--once", "--netns=kproxy-test-lab", "--kernel=uml")
    assert done.stderr.startswith(SAYS)
    assert done.stderr.count("kind Ingress is not used by a service proxy") == 1
    assert "done: mode ipvs" in done.stderr
    assert (done.stdout, done.returncode) == ("", 0)
    assert not Path("/run/netns/kproxy-test-lab").exists()


def test_its_errors_and_exit_status_come_back() -> None:
    done = kproxy(*RUN, "--once", "--kernel=uml", "--netns=x/y")
    assert "'x/y' cannot be the name of a network namespace" in done.stderr
    assert done.returncode == 2


def test_a_node_never_leaves_its_kernel_by_itself(tmp_path: Path) -> None:
    done = kproxy(*RUN, "--kernel=uml")
    assert done.stderr.splitlines()[1:] == [
        "  --kernel uml: needs --once, because the rules end with that kernel"
    ]
    assert done.returncode == 2
    # Not even by a mode that a file asks for, and also where only one sync is wanted. In a
    # namespace of its own: where the kernel has IPVS, this one starts.
    config = tmp_path / "config.yaml"
    config.write_text(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\n"
        "kind: KubeProxyConfiguration\nmode: ipvs\nhostnameOverride: node-a\n"
    )
    done = kproxy(
        *("run", f"--config={config}", f"--manifests={EXAMPLES}", "--once"),
        before=("unshare", "--net"),
    )
    assert "running on user-mode Linux" not in done.stderr
    if has_ipvs():
        assert done.returncode == 0
    else:
        assert "this kernel has no IPVS" in done.stderr
        assert "try: modprobe ip_vs" in done.stderr
        assert done.returncode == 1


NO_PRIVILEGE = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
WITHOUT_ROOT = "without root: --kernel uml, or python -m kproxy.kernel.uml COMMAND..."
COMMANDS = [
    ("demo",),
    ("demo", "--mode=nftables"),
    ("matrix", "--mode=iptables"),
    ("scenario", "run", "lb-local-from-same-node"),
    ("run", f"--manifests={EXAMPLES}", "--once"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_without_root_the_error_says_what_works(command: tuple[str, ...]) -> None:
    done = kproxy(*command, before=NO_PRIVILEGE)
    assert (done.returncode, WITHOUT_ROOT in words(done.stderr)) == (1, True), done.stderr


def test_what_works_without_root() -> None:
    done = kproxy("demo", "--kernel=uml", before=NO_PRIVILEGE)
    assert done.returncode == 0, done.stderr


# What user-mode Linux 7.2 lacks from the start: hidden modules are not loaded again.
WITHOUT_LEGACY = """
for each in users used; do
    lsmod | awk '$1 ~ /^ip6?(table_|_tables)/ {print $1}' | xargs rmmod
done 2>/dev/null
mount -t tmpfs none /run/kproxy/lib/modules
exec "$@"
"""
IN_TURN = """
import json, subprocess, sys
done = [subprocess.run(each, capture_output=True, text=True) for each in json.loads(sys.argv[1])]
print(json.dumps([[each.returncode, each.stderr] for each in done]))
"""
ON_UML = (sys.executable, "-m", "kproxy.kernel.uml", "--kernel=uml")
NEITHER = "7.2 has neither legacy iptables nor nf_tables for IPv4 and IPv6"
LACKING = [  # mode, what the kernel lacks, what to do
    ("ipvs", "legacy iptables", NEITHER),
    ("iptables", "legacy iptables", NEITHER),
    ("nftables", "nf_tables", "use this machine's own kernel (--kernel host)"),
    ("iptables --iptables-variant nft", "nf_tables", "6.1 and 6.12, of Debian 12 and 13, have"),
]


@pytest.fixture(scope="module")
def without_legacy() -> dict[str, tuple[int, str]]:
    """Return exit status and errors of a demo in each mode, all on one such kernel."""
    demos = [[*KPROXY, "demo", "--mode", *mode.split()] for mode, _, _ in LACKING]
    in_turn = (sys.executable, "-c", IN_TURN, json.dumps(demos))
    done = subprocess.run(
        [*ON_UML, "sh", "-c", WITHOUT_LEGACY, "sh", *in_turn],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    answers = map(tuple, json.loads(done.stdout))
    return dict(zip((mode for mode, _, _ in LACKING), answers, strict=True))


@pytest.mark.parametrize(("mode", "part", "remedy"), LACKING)
def test_what_a_user_mode_kernel_lacks_is_named(
    without_legacy: dict[str, tuple[int, str]], mode: str, part: str, remedy: str
) -> None:
    status, errors = without_legacy[mode]
    message, _, advice = words(errors).partition(" try: ")
    assert f": this kernel (user-mode Linux {version()}) has no {part} for IPv4" in message
    assert remedy in advice
    assert status == 1


def words(text: str) -> str:
    """Return the text without its line breaks, which depend on the width of the terminal."""
    return " ".join(text.split())


def version() -> str:
    return subprocess.run(["linux.uml", "--version"], capture_output=True, text=True).stdout.strip()
