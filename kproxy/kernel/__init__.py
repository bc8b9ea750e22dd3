"""Thin, typed access to the kernel, always to the network namespace of the calling thread.

Namespaces, processes and the machine
  netns          network namespaces as values: create, enter, publish, close
  ownership      the claim of one proxy on a namespace
  privilege      the check for CAP_NET_ADMIN
  process        `run`: a program run for its output
  starter        the helper process that starts programs on user-mode Linux
  measurement    a measurement in a process of its own: JSON in, JSON out
  running        whether this is user-mode Linux; the memory of a process
  uml            one command on user-mode Linux, where this kernel has no IPVS
  modules        loading kernel modules
  sysctl         /proc/sys
  tmpfs          folders in memory without a mount point

Network and netfilter
  netlink        the socket under most of what follows: many requests in one send
  links          virtual links, routes, neighbours and policy rules, through pyroute2
  addresses      addresses of interfaces, and the dummy interface of ipvs mode
  in_flight      packets that wait for a processor, a link or a neighbour
  conntrack      tracked connections: list, follow, delete
  xtables        iptables, nft and legacy variant, by its commands
  iptables_programs  their names and versions
  iptables_save  rules as iptables-save prints them (pure)
  iptables_nft   what the nft variant's program writes, written without it
  iptables_legacy  small legacy tables, read and written without a program
  saved_rules    what text for iptables-restore makes, as iptables-save prints it (pure)
  lacking        parts that a kernel may have been built without
  legacy_tables  sizes of legacy tables, and what is in them, for the kernel
  legacy_reader  legacy IPv4 tables, read without a process
  nftables       nf_tables over netlink
  ipset          sets of ipset
  ipset_indexes  the numbers by which legacy rules refer to them
  ipset_attributes  their types and entries, as text and in messages (pure)
  ipvs           virtual servers and real servers
  nfacct         named packet counters
  trace          netfilter's trace of each packet
  hashing        the hashes in kube-proxy's names of chains and sets (pure)

Nothing here knows Services, plans or labs. Functions return values and raise `Unsupported` if the
machine lacks something, `KernelRefused` if the kernel or its tool rejected a request.
"""
