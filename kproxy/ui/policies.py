"""Fields of a Service's spec that the page may change, with their values; "" removes one. Pure."""

POLICIES = {
    "externalTrafficPolicy": ("Cluster", "Local"),
    "internalTrafficPolicy": ("Cluster", "Local"),
    "sessionAffinity": ("None", "ClientIP"),
    "trafficDistribution": ("", "PreferSameZone", "PreferSameNode"),
}
