"""Services of every type, from manifests as users write them to packets, in each mode."""
