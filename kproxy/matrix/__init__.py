"""The access matrix: from every place of a client to every address of a Service, by real packets.

    Setting (mode, network, profile, policy ...) -> a lab of three nodes with its edge
    places x targets -> connections, probes, traces -> Cell: outcome, source seen, where and why
    documented tables (seeds) -> agreement, cell by cell

places     places of clients, kinds of Services and targets, in the words of the tables
setting    the cluster to measure on, and the lab for it
measure    one setting -> its cells
elsewhere  settings that need another kernel, measured on that
seeds      the statements of the vendors' documents
agreement  documented against measured
report     matrices as boards and as plain values
plugins    network plugins: their documented tables, measured and compared
"""
