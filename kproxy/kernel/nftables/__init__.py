"""nf_tables, spoken to in its own netlink messages.

expressions   what a rule does, as the kernel takes it (pure)
objects       messages for tables, chains, sets, elements and rules (pure)
types         data types of sets, as nft prints them (pure)
session       transactions, rehearsals, and reading back
"""
