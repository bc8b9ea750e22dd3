"""Services of every type, from manifests as people write them to packets, in each mode."""
