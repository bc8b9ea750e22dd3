"""nf_tables over its own netlink messages.

types         data types of sets, as nft prints them (pure)
expressions   what a rule does, as the kernel takes it (pure)
objects       messages for tables, chains, sets, elements and rules (pure)
session       transactions, rehearsals, and reading back
values        values and elements as nft prints them (pure)
text          rules as nft prints them (pure)
listing       a table as the program nft prints it, for people and tests
"""
