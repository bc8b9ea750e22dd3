"""A whole backend: nftables leads the addresses of Services to random endpoints, masqueraded."""

import subprocess

import kproxy.backend as kp

TABLE = """add table {0}; delete table {0}; table {0} {{ chain services {{ {1} }};
chain prerouting {{ type nat hook prerouting priority -100; jump services; }};
chain output {{ type nat hook output priority -100; jump services; }};
chain postrouting {{ type nat hook postrouting priority 100; ct status dnat masquerade; }}; }}"""


class MinimalBackend:
    def __init__(self, family: kp.Family, _options: kp.BackendOptions) -> None:
        self.ip = "ip" if family is kp.Family.IPV4 else "ip6"

    def support(self) -> kp.Support:
        return kp.Support(True)  # without the program nft, a sync raises an OSError that names it

    def prepare(self, _settings: kp.NodeSettings, /) -> None: ...
    def close(self) -> None: ...

    def sync(self, plan: kp.Plan, _delta: kp.Delta, /) -> kp.SyncReport:
        rules = [
            f"{self.ip} daddr {front.address} {name.protocol.lower()} dport {front.port} dnat to "
            f"numgen random mod {len(pool)} map {{ {', '.join(pool)} }};"
            for name, each in sorted(plan.services.items())
            for front in each.frontends
            if (pool := [f"{n} : {e.address} . {e.port}" for n, e in enumerate(each.pool(front))])
            and front.address  # it opens no node ports
        ]
        self.nft(TABLE.format(f"{self.ip} minimal", "".join(rules)))
        self.written = self.read()
        return kp.SyncReport(full=True, transactions=1, rules_written={"minimal": len(rules)})

    def intact(self) -> bool:
        return self.read() == self.written

    def read(self) -> kp.Ruleset:
        _, found, rest = self.nft(f"list ruleset {self.ip}").partition(f" {self.ip} minimal {{\n")
        return {"minimal": {"all": tuple(rest.partition("\n}")[0].split("\n"))}} if found else {}

    def cleanup(self) -> None:
        self.nft(f"add table {self.ip} minimal; delete table {self.ip} minimal")

    def nft(self, script: str) -> str:
        done = subprocess.run(["nft", "-f", "-"], input=script, capture_output=True, text=True)
        if done.returncode:
            raise kp.KernelRefused(done.stderr)
        return done.stdout


MODE = kp.Mode(name="minimal", backend=MinimalBackend, contract=1, look="nft list table ip minimal")
