"""The access matrix: from every place of a client to every address of a Service, by real packets.

    Setting (mode, network, profile, policy ...) -> a lab of three nodes with its edge
    places x targets -> connections, probes, traces -> Cell: outcome, source seen, where and why
    documented tables (seeds) -> agreement, cell by cell

places     where clients are, what they ask for: the words of the tables
setting    which cluster it is measured on, and the lab for it
measure    one setting -> its cells
elsewhere  settings that need another kernel, measured there
seeds      what the vendors' documents say
agreement  documented against measured
"""
