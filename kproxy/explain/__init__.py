"""Why a packet ended where it did, by observation and not by expectation.

    taps of the prober (hosts, links and addresses of each sighting)       ┐
    traces of netfilter in every host (rules that matched, their verdicts) ├─> reason
    facts of the host (routes, reverse path, own addresses)                ┘

traces     netfilter's traces in the hosts of a lab, sorted by probe
facts      queries to a host after the packet has ended there
walk       the translations and links of a probe on each host
rule_names the name of a rule in a sentence
reason     one sentence
explainer  all of it for many requests at once, with the connections that they are about
sources    names for the addresses that servers see
"""
