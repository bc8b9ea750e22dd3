"""The documented effect of externalTrafficPolicy by network plugin, compared with packets.

    tables/ack.yaml -> PluginStatement                          ┐
    a lab for each plugin -> Observed, for each policy (`lab`)  ┴ evaluate -> PluginFinding

table    the statements of the document
seen     the observations, as values (pure)
lab      makes the observations, by connections and traced probes
evaluate one statement against the observations (pure)
measure  all statements of one mode, here or on a kernel that has IPVS
report   the table as a board and as plain values (pure)
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
