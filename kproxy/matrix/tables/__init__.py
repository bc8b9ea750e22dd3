"""What the vendors' documents say, as data; read by `kproxy.matrix.seeds`."""
