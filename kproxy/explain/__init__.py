"""Why a packet ended where it did: from what was observed of it, not from what was expected.

    taps of the prober (who saw it, by which link, with which addresses)  ┐
    traces of netfilter in every host (which rules matched, what they did) ├─> reason
    what the host says it would do (routes, reverse path, own addresses)   ┘

traces     netfilter's traces in the hosts of a lab, sorted by probe
facts      questions that are put to a host after the packet has ended there
walk       what each host did to a probe
rule_names how a rule is called in a sentence
reason     one sentence
explainer  all of it for many requests at once, and the connections that they are about
sources    what the addresses that servers see are called
"""
