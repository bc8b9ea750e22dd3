"""A proxy's measurements of its own work, and their text for Prometheus.

    NodeProxy, Store -> Measurements (an `Observer`) -> samples -> exposition -> text
    backends -> figures, at each scrape ----------------^

definitions   the metrics: names, types, labels and buckets are kube-proxy's
measurements  counts while the proxy works; plain numbers, no lock, no library
exposition    text of samples; the only module that imports prometheus_client
"""

from kproxy.metrics.measurements import Measurements, Sample

__all__ = ["Measurements", "Sample"]
