"""Every command of kubectl against a lab: a new kubectl and an old one, one table for both."""
