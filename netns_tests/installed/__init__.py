"""kproxy as people install it: from its wheel, in an environment outside the checkout."""
