"""The mode under test, as its author describes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from msgspec import Struct

from kproxy.address import Family
from kproxy.backend.mode import Mode
from kproxy.forwarding.plan import BackendOptions, Plan
from kproxy.testing.node import namespace_state, new_node


class Subject(Struct, frozen=True, kw_only=True):
    """The mode under test, and what only its author knows.

    Nothing is passed over in silence: a test that needs what is None here fails and says so.
    """

    mode: Mode
    options: BackendOptions | None = None
    """The backends are made with these; None for the defaults."""
    families: tuple[Family, ...] = tuple(Family)
    """Those that the backend serves."""
    place: Callable[[], AbstractContextManager[None]] = new_node
    """Entered for each test, more than once for some: a node with an empty kernel."""
    look: Callable[[], object] = namespace_state
    """Returns all that the backend may write at the present place, and what others have there, by
    other means than the backend's own `read`: compared with `==` before and after.
    """
    foreign: Callable[[], None] | None = None
    """Writes something of somebody else's where the backend works, as `look` shows it."""
    sabotage: Callable[[Family], None] | None = None
    """Destroys some of what a backend of that family has written, as another process may."""
    refuse: Callable[[Family, Plan, Plan], AbstractContextManager[None]] | None = None
    """Within the block the kernel refuses the sync of a family from the first plan to the second.

    The second lacks some service ports of the first, and has others changed and added.
    `kproxy.testing.node.unprivileged` does it for whatever the kernel has to be asked for.
    """
    refused_options: Mapping[str, object] = {}
    """Values that the mode's options must not take, by their names in a configuration file."""
    edits: int = 60
    """How long each random history is."""
