"""The errors of kproxy, named for what the caller will do about them.

These causes are distinguished: the input (`BadInput`), this machine (`Unsupported`,
`KernelRefused`), another kproxy in this namespace (`NamespaceBusy`), the code of a plug-in
(`BackendFault`), another node or configuration than at the start (`NodeChanged`,
`ConfigurationChanged`), the network (`Unreachable`), and time (`TimedOut`). Any other exception
that escapes is a bug in kproxy.
"""

from __future__ import annotations


class KproxyError(Exception):
    """Base of all errors that kproxy raises on purpose. `remedy` says what to do next, or is ""."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class BadInput(KproxyError):
    """Objects, configuration or arguments that cannot be accepted; nothing of them was applied.

    `problems` has one line for each fault found, so that all can be fixed at once.
    """

    def __init__(self, problems: list[str], *, remedy: str = "") -> None:
        super().__init__("\n".join(problems), remedy=remedy)
        self.problems = problems


class NoOracle(BadInput):
    """The oracle cannot predict this mode, because its backend gives no rules."""


class AccessRefused(BadInput):
    """An API server and kproxy do not accept each other: credentials, or a TLS certificate.

    Nothing can begin like that. A process that runs already tries again: both may be renewed.
    """


class Unreachable(KproxyError):
    """An API server did not answer, or no longer: network, time, a proxy. Trying again may help."""


class Silent(Unreachable):
    """A connection to an API server stands, but nothing has come for too long."""


class Unsupported(KproxyError):
    """This machine lacks a program, a kernel feature or a privilege; `remedy` names it."""


class KernelRefused(KproxyError):
    """The kernel or its tool rejected a change. Nothing of that transaction was applied."""


class BackendFault(KproxyError):
    """A backend breaks the contract: the fault is in its code, not in its input or this machine.

    The message names the backend, its distribution and version. The caller's request has failed.
    """


class NamespaceBusy(KproxyError):
    """Another kproxy owns this network namespace; `pid` is its process."""

    def __init__(self, message: str, *, pid: int, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.pid = pid


class NodeChanged(KproxyError):
    """The node is no longer the one that the proxy was started for, and its version ends then.

    What is in force stays.
    """


class ConfigurationChanged(KproxyError):
    """The file that the proxy was configured with was written. What is in force stays.

    The proxy ends, so that a service manager starts it with the new configuration.
    """


class TimedOut(KproxyError, TimeoutError):
    """A caller waited for something in vain; the message says what there was instead."""
