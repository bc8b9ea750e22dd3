"""The checks of `kproxy doctor`, on facts without any kernel."""
