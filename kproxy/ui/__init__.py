"""The page of a lab: what a browser shows of it, live, and how it asks and measures there.

    lab's process     telling ── documents as they are written ──┐  lines of JSON, over the lab's
                      measuring ── rows of the matrix ───────────┤  control socket
    page's process    entities, model <──────────────────────────┘
                          └── server ── changes ──> browsers (page/)

A browser never talks to the lab's process: however slow it is, only its own view is late. Nouns: an
*entity* is one thing that the page shows (a host, a Service, a cell of the matrix), JSON under a
name such as `service/default/web`; a *view* is what one browser does not have yet.
"""
