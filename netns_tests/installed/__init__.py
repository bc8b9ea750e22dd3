"""Tests of kproxy as users install it: from its wheel, in an environment outside the checkout."""
