"""The statements of the vendors' documents, as data; read by `kproxy.matrix.seeds`."""
