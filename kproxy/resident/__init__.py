"""Labs that stay: one background process for each, and what other commands know of it.

    kproxy up ── Claim: a locked directory ── fork ──> background: a `Lab`, its API, its proxies
                                                          |
    kproxy status, shell, down ── control socket ─────────+

Nouns: a lab's *place* is its directory under the state root, locked by the lab's process for as
long as it lives (`places`); its `Record` says how it was started (`records`); the *control socket*
there answers other commands (`control`). A lab without a process is dead: `cleaning` finds what it
left.
"""
