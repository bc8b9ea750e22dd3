"""`kproxy run --once`: its exit status, messages, and what it leaves in the kernel."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kproxy.address import Family
from kproxy.kernel.ipvs import Ipvs
from netns_tests.run.running import Place

Text = Callable[..., str]


@pytest.fixture
def place(place: Place) -> Place:
    """A place where kproxy is started as users do."""
    place.python = sys.executable
    return place


def test_rules_of_both_families_stay(place: Place, service: Text) -> None:
    place.write("web.yaml", service("web", "10.96.0.1"))
    place.write("web6.yaml", service("web6", "fd00:96::1"))
    done = place.once("--manifests", str(place.folder), "--once")
    assert (done.returncode, done.stdout) == (0, "")
    assert "10.96.0.1" in place.rules()
    assert "fd00:96::1" in place.rules()


def test_a_second_sync_with_other_objects_replaces_the_first(place: Place, service: Text) -> None:
    path = place.write("web.yaml", service("web", "10.96.0.1"))
    assert place.once("--manifests", str(path), "--once").returncode == 0
    place.write("web.yaml", service("web", "10.96.0.2"))
    assert place.once("--manifests", str(path), "--once").returncode == 0
    assert "10.96.0.2" in place.rules()
    assert "10.96.0.1" not in place.rules()


def test_a_configuration_file_inside_the_namespace(place: Place, service: Text) -> None:
    """This is the form in which the recorded cases of kube-proxy are run."""
    path = place.write("objects", service("web", "10.96.0.1"))
    config = place.write(
        "proxy",
        json.dumps(
            {
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration",
                "hostnameOverride": "node-0",
                "clusterCIDR": "10.244.0.0/16,fd00:10:244::/56",
                "detectLocalMode": "ClusterCIDR",
                "bindAddress": "192.168.10.10",
                "conntrack": {"maxPerCore": 0},
                "mode": "iptables",
            }
        ),
    )
    kproxy = [sys.executable, "-m", "kproxy", "run", "--config", str(config)]
    done = subprocess.run(
        ["ip", "netns", "exec", place.name, *kproxy, "--manifests", str(path), "--once"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "10.96.0.1" in place.rules()


BAD_INPUT = [  # manifest, flags -> what the message names
    ("port: 0", "", ["web.yaml", "port"]),
    ("good", "--proxy-mode=ebpf --bind-address=x", ["--proxy-mode", "--bind-address"]),
    ("port: 0", "--proxy-mode=ebpf", ["--proxy-mode", "web.yaml"]),
    ("good", "--manifests=/no/such/file", ["/no/such/file: "]),
    ("good", "--config=/no/such/file", ["/no/such/file: "]),
    ("good", "--detect-local-mode=NodeCIDR", ["no Node node-a with spec.podCIDRs"]),
    ("good", "--proxy-mode=userspace", ["--once: userspace mode forwards in this process"]),
]


@pytest.mark.parametrize(("manifest", "flags", "named"), BAD_INPUT)
def test_bad_input_exits_2_and_changes_nothing(
    place: Place, service: Text, manifest: str, flags: str, named: list[str]
) -> None:
    before = place.rules()
    path = place.write("web.yaml", service("web", "10.96.0.1", 0 if "0" in manifest else 80))
    done = place.once("--manifests", str(path), "--once", *flags.split())
    assert done.returncode == 2, done.stderr
    for text in named:
        assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert place.rules() == before


def test_an_unknown_namespace_exits_2_and_says_how_to_list_them(
    place: Place, service: Text
) -> None:
    path = place.write("web.yaml", service("web", "10.96.0.1"))
    done = place.once("--manifests", str(path), "--once", "--netns", "no-such-place")
    assert done.returncode == 2
    assert "no-such-place" in done.stderr
    assert "ip netns list" in done.stderr


def test_a_conntrack_table_that_cannot_be_sized_names_the_setting(
    place: Place, service: Text
) -> None:
    path = place.write("web.yaml", service("web", "10.96.0.1"))
    before = place.rules()
    done = place.once(
        "--manifests", str(path), "--once", "--conntrack-max-per-core=1", "--conntrack-min=77777"
    )
    assert done.returncode == 1
    assert "conntrack.maxPerCore: 0 (--conntrack-max-per-core=0)" in done.stderr
    assert place.rules() == before


def test_conntrack_times_are_set(place: Place, service: Text) -> None:
    path = place.write("web.yaml", service("web", "10.96.0.1"))
    flags = ("--conntrack-tcp-timeout-established=2h", "--conntrack-tcp-be-liberal")
    assert place.once("--manifests", str(path), "--once", *flags).returncode == 0
    names = [f"net.netfilter.nf_conntrack_tcp_{n}" for n in ("timeout_established", "be_liberal")]
    assert place.tool("sysctl", "-n", *names).split() == ["7200", "1"]


def test_a_refused_transaction_exits_1_with_the_answer_and_a_retry_is_clean(
    place: Place, service: Text, broken_restore: Path
) -> None:
    path = place.write("web.yaml", service("web", "10.96.0.1"))
    done = place.once("--manifests", str(path), "--once")
    assert done.returncode == 1
    assert "sabotaged" in done.stderr
    assert "Traceback" not in done.stderr
    assert "10.96.0.1" not in place.rules()
    broken_restore.unlink()
    assert place.once("--manifests", str(path), "--once").returncode == 0
    assert "10.96.0.1" in place.rules()


def test_without_the_program_the_package_is_named(place: Place, service: Text) -> None:
    path = place.write("web.yaml", service("web", "10.96.0.1"))
    argv = place.argv("--manifests", str(path), "--once")
    hide = 'mount -t tmpfs none /usr/sbin && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", hide, "sh", *argv],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "apt-get install iptables" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_privilege_it_is_named(place: Place, service: Text) -> None:
    path = place.write("web.yaml", service("web", "10.96.0.1"))
    argv = [sys.executable, "-m", "kproxy", "run", "--manifests", str(path), "--once"]
    done = subprocess.run(
        ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", *argv],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "CAP_NET_ADMIN" in done.stderr
    assert "sudo" in done.stderr


def test_cleanup_leaves_what_is_not_ours(place: Place, service: Text) -> None:
    place.tool("iptables", "-t", "nat", "-A", "POSTROUTING", "-s", "10.1.2.3", "-j", "ACCEPT")
    before = place.rules()
    path = place.write("web.yaml", service("web", "10.96.0.1"))
    assert place.once("--manifests", str(path), "--once").returncode == 0
    assert "KUBE-SERVICES" in place.rules()
    assert place.once("--cleanup").returncode == 0
    assert "KUBE-" not in place.rules()
    assert [line for line in before.splitlines() if "10.1.2.3" in line] == [
        line for line in place.rules().splitlines() if line.startswith("-A")
    ]
    assert place.once("--cleanup").returncode == 0


def test_init_only_sets_sysctls_and_writes_no_rules(place: Place) -> None:
    before = place.rules()
    flags = ("--init-only", "--conntrack-udp-timeout=77s", "--detect-local-mode=NodeCIDR")
    assert place.once(*flags).returncode == 0
    assert place.tool("sysctl", "-n", "net.netfilter.nf_conntrack_udp_timeout").strip() == "77"
    assert place.tool("sysctl", "-n", "net.ipv4.conf.all.route_localnet").strip() == "1"
    assert place.rules() == before


@pytest.mark.ipvs
def test_init_only_in_ipvs_mode(place: Place) -> None:
    flags = ("--proxy-mode=ipvs", "--init-only", "--ipvs-udp-timeout=33s", "--ipvs-strict-arp")
    assert place.once(*flags).returncode == 0
    for name, value in {"vs.conntrack": "1", "conf.all.arp_announce": "2"}.items():
        assert place.tool("sysctl", "-n", f"net.ipv4.{name}").strip() == value
    with place.namespace.entered(), Ipvs() as ipvs:
        assert ipvs.timeouts()[2] == 33
        assert ipvs.count(Family.IPV4) == 0


def test_the_effective_configuration_can_be_written_and_used(place: Place, service: Text) -> None:
    written = place.folder / "effective"
    flags = ("--cluster-cidr=10.9.0.0/16", "--masquerade-all")
    assert place.once("--write-config-to", str(written), *flags).returncode == 0
    assert "clusterCIDR: 10.9.0.0/16" in written.read_text()
    path = place.write("web.yaml", service("web", "10.96.0.1"))
    done = place.once("--manifests", str(path), "--once", "--config", str(written), flags[0])
    assert done.returncode == 0, done.stderr
    assert "--cluster-cidr is ignored because --config is given" in done.stderr


def test_run_imports_neither_scapy_nor_the_lab(place: Place, service: Text) -> None:
    path = place.write("web.yaml", service("web", "10.96.0.1"))
    code = (
        "import sys\n"
        "from kproxy.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(*[n for n in ('scapy', 'rich', 'watchfiles', 'kproxy.lab') "
        "if n in sys.modules])"
    )
    arguments = place.argv("--manifests", str(path), "--once")[3:]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
