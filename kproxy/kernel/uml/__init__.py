"""A kernel that has IPVS, for one command: user-mode Linux, where the running one has none.

`command` starts it, `guest` is the first process inside, `relay` carries standard streams between
the two, `keeper` ends the guest when its launcher has ended. Usage:

    python -m kproxy.kernel.uml COMMAND
"""
