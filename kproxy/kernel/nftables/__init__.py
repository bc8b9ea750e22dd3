"""nf_tables, spoken to in its own netlink messages.

types         data types of sets, as nft prints them (pure)
expressions   what a rule does, as the kernel takes it (pure)
objects       messages for tables, chains, sets, elements and rules (pure)
session       transactions, rehearsals, and reading back
listing       what the program nft prints, for people and tests
"""
