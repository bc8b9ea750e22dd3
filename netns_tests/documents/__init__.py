"""Pages of the documentation, typed into a shell as a reader would.

A block that begins with ```` ```console ```` is a piece of one session: all blocks of a page share
one bash, whose working directory is the checkout. A line that begins with `$ ` is typed, lines that
begin with `> ` continue it, and the lines below are what it prints, up to the next `$ ` or the
end of the block. What is printed is compared after masking what no two sessions have in common
(`masks`). Standard error is part of it.

A page waits by what it types (`kubectl wait`, `kubectl rollout status`), never by time. Blocks in
ipvs mode need no mark: where the kernel has no IPVS, `kproxy up` starts user-mode Linux by itself.

The pages' output is at most 100 columns wide (`fold`).

    python -m netns_tests.documents README.md docs/tutorial.md    # says what differs
    python -m netns_tests.documents --update docs/tutorial.md     # rewrites what differs
"""
