"""What a document says externalTrafficPolicy does, by network plugin, held against packets.

    tables/ack.yaml -> PluginStatement                          ┐
    a lab for each plugin -> Observed, for each policy (`lab`)  ┴ evaluate -> PluginFinding

table    what the document says
seen     what is observed, as values
lab      observes it, by connections and traced probes
evaluate one statement against what was observed (pure)
measure  all statements of one mode, here or on a kernel that has IPVS
"""

from kproxy.matrix.plugins.evaluate import PluginFinding
from kproxy.matrix.plugins.measure import measure_example, measure_plugins
from kproxy.matrix.plugins.table import PluginStatement, Row, documented

__all__ = [
    "PluginFinding",
    "PluginStatement",
    "Row",
    "documented",
    "measure_example",
    "measure_plugins",
]
