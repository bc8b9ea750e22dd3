"""All that the author of a backend needs.

contract     `Backend`, and every rule of who calls what, when
mode         `Mode`: what an entry point of the group `kproxy.backends` gives
inputs       the text that programs load, for a mode's rules on paper
options      a mode's own options, decoded by its own type
configuration  a configuration file with its mode and the options of that
registry     which backends are installed; loading one checks it
figures      what a backend counts, for the metrics of a proxy
containment  turns whatever goes wrong in another package's backend into an error with its name
claims       things that several service ports may claim, for backends that need it
held         objects that others hold on to: named once in the log, and tried again
listing      the rules of one Service, in the order in which packets meet them
saved_walk   the same in chains of iptables, for modes that write some
late         functions of a mode that are imported when they are called first
masquerade   the iptables rules behind the masquerade mark, and their purposes

The nouns of the plan (`ServicePlan`, `Frontend` ...) and the words for the oracle's rules (`Rules`,
`Passage`, `Translation` ...) are exported here as well, and of the configuration what a mode's own
part of it is made of (`ModeConfig`, `PRIMARY`, `Seconds`). docs/backends.md tells how to write one.
"""

from kproxy.address import Family, bracketed, family_of, host_port
from kproxy.backend.claims import Change, Claims
from kproxy.backend.contract import (
    CONTRACT_VERSION,
    Backend,
    BackendFactory,
    Predecessor,
    Ruleset,
    Support,
    SyncReport,
    Uses,
)
from kproxy.backend.figures import Counting, Figure, Metric, MetricKind
from kproxy.backend.inputs import HostFacts, ProgramInput
from kproxy.backend.listing import (
    ListedRule,
    Lister,
    Listing,
    Purpose,
    RuleLine,
    ServiceRules,
    Sought,
    listing_of,
    purposes,
    texts,
    uncounted,
)
from kproxy.backend.mode import Mode
from kproxy.backend.options import complete_options, decode_options, parse_options
from kproxy.backend.registry import (
    DEFAULT_MODE,
    ModeConfigs,
    load,
    modes,
    report_faults,
    rules_of,
    sound_modes,
)
from kproxy.config.types import PRIMARY, ModeConfig, Seconds
from kproxy.errors import (
    BackendFault,
    BadInput,
    KernelRefused,
    KproxyError,
    NoOracle,
    Unsupported,
)
from kproxy.forwarding.network import Host, HostKind, Network
from kproxy.forwarding.plan import (
    BackendOptions,
    Delta,
    DetectLocal,
    Endpoint,
    Frontend,
    FrontendKind,
    LocalDetector,
    LoopbackNodePorts,
    Masquerade,
    NodePortAddresses,
    NodeSettings,
    OnEmpty,
    Plan,
    Pool,
    ServicePlan,
    ServicePortName,
)
from kproxy.forwarding.routing import contains, is_loopback, is_own
from kproxy.forwarding.rules import (
    Arrival,
    Passage,
    Refusal,
    Rules,
    Translation,
    admits,
    asked,
    choice,
    is_local_pod,
    named,
    not_allowed,
    policy_of,
    selected_for_node_ports,
)
from kproxy.outcome import Outcome
from kproxy.versions import Version

__all__ = [
    "CONTRACT_VERSION",
    "DEFAULT_MODE",
    "PRIMARY",
    "Arrival",
    "Backend",
    "BackendFactory",
    "BackendFault",
    "BackendOptions",
    "BadInput",
    "Change",
    "Claims",
    "Counting",
    "Delta",
    "DetectLocal",
    "Endpoint",
    "Family",
    "Figure",
    "Frontend",
    "FrontendKind",
    "Host",
    "HostFacts",
    "HostKind",
    "KernelRefused",
    "KproxyError",
    "ListedRule",
    "Lister",
    "Listing",
    "LocalDetector",
    "LoopbackNodePorts",
    "Masquerade",
    "Metric",
    "MetricKind",
    "Mode",
    "ModeConfig",
    "ModeConfigs",
    "Network",
    "NoOracle",
    "NodePortAddresses",
    "NodeSettings",
    "OnEmpty",
    "Outcome",
    "Passage",
    "Plan",
    "Pool",
    "Predecessor",
    "ProgramInput",
    "Purpose",
    "Refusal",
    "RuleLine",
    "Rules",
    "Ruleset",
    "Seconds",
    "ServicePlan",
    "ServicePortName",
    "ServiceRules",
    "Sought",
    "Support",
    "SyncReport",
    "Translation",
    "Unsupported",
    "Uses",
    "Version",
    "admits",
    "asked",
    "bracketed",
    "choice",
    "complete_options",
    "contains",
    "decode_options",
    "family_of",
    "host_port",
    "is_local_pod",
    "is_loopback",
    "is_own",
    "listing_of",
    "load",
    "modes",
    "named",
    "not_allowed",
    "parse_options",
    "policy_of",
    "purposes",
    "report_faults",
    "rules_of",
    "selected_for_node_ports",
    "sound_modes",
    "texts",
    "uncounted",
]
