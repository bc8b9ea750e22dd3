"""The verdict of the proxy of one node on the first packet of a new connection. Pure.

    objects, configuration -> settings -> plan ┐
    objects, text          -> sender           ├─> passage -> the mode's `Rules` -> verdict

Nouns: `Sender`, who asks: an address, and the way its packet reaches the node; `Verdict`, what is
done with the packet, and why. Where it ends is another question, which `kproxy.forwarding.oracle`
answers: it follows a packet from host to host, by the same `Rules`.
"""
