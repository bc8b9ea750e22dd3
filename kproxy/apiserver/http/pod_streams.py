"""exec, attach, log and portforward of a pod: the requests whose answers are streams."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

from aiohttp import web

from kproxy.apiserver.http import channels, exec, logs, port_channels, port_forward
from kproxy.apiserver.http.access import PodAccess, Process
from kproxy.apiserver.http.channels import Channels, Wanted
from kproxy.apiserver.http.descriptors import while_connected
from kproxy.apiserver.http.spdy_session import Hijacked
from kproxy.apiserver.http.streams import Query
from kproxy.controlplane.plane import Json, Plane, Refused
from kproxy.store import ObjectKey


class PodStreams:
    """Serves the streams of pods, as `kproxy.apiserver.http.streams.Streams` says."""

    def __init__(self, access: PodAccess, plane: Plane) -> None:
        """Take what runs the pods, and where their ends are written."""
        self._access = access
        self._plane = plane

    async def exec(
        self, request: web.BaseRequest, pod: ObjectKey, query: Query
    ) -> web.StreamResponse:
        """Run a command in a pod, with the client's streams."""
        container = self._running(pod, query)
        argv = [value for name, value in query if name == "command"]
        wanted = _wanted(query)
        if not argv:
            raise _bad("you must specify at least one command for the container")

        async def serve(streams: Channels) -> None:
            await exec.run(streams, self._start(pod, container, argv, wanted), tty=wanted.tty)

        return await _joined(request, wanted, serve)

    async def attach(
        self, request: web.BaseRequest, pod: ObjectKey, query: Query
    ) -> web.StreamResponse:
        """Run the program of a container that reads its standard input, with the client's streams.

        Others are refused: they have no process of their own. When the program has ended, a Pod
        that is not to be restarted has ended, too.
        """
        channels.is_web_socket(request)
        container = self._running(pod, query)
        spec = next(
            each for each in self._document(pod)["spec"]["containers"] if each["name"] == container
        )
        if not spec.get("stdin"):
            raise _bad(
                f"pod {pod[2]} runs no process to attach to: the lab itself answers for its pods. "
                f"See what it answers with `kubectl logs -f {pod[2]}`; start a program in it with "
                f"`kubectl exec`"
            )
        argv = [*(spec.get("command") or ()), *(spec.get("args") or ())] or ["sh"]
        wanted = _wanted(query)

        async def serve(streams: Channels) -> None:
            start = self._start(pod, container, argv, wanted)
            await exec.run(streams, start, tty=wanted.tty, ended=partial(self._end, pod, container))

        return await _joined(request, wanted, serve)

    async def log(
        self, request: web.BaseRequest, pod: ObjectKey, query: Query
    ) -> web.StreamResponse:
        """Answer with a pod's log, or follow it."""
        asked = logs.options(query)
        container = self._container(pod, query)
        if logs.truth(query, "previous"):
            raise _bad(f'previous terminated container "{container}" in pod "{pod[2]}" not found')
        document = self._document(pod)
        if _phase(document) == "Pending":
            raise _bad(
                f'container "{container}" in pod "{pod[2]}" is waiting to start: ContainerCreating'
            )
        try:
            return await logs.send_log(request, self._access, pod, asked)
        except ConnectionResetError:
            return Hijacked()

    async def port_forward(
        self, request: web.BaseRequest, pod: ObjectKey, query: Query
    ) -> web.StreamResponse:
        """Connect a client to ports of a pod."""
        self._running(pod, query)
        uid = self._document(pod)["metadata"].get("uid", "")
        connect = partial(self._access.connect, pod)
        name = f"{pod[2]}, uid {uid}"
        if not channels.is_web_socket(request):
            return await _answered(request, port_forward.over_spdy(request, name, connect))
        if port_channels.asked(request):
            wanted = port_channels.ports(query)
            return await _answered(request, port_channels.serve(request, name, connect, wanted))
        return await _answered(request, port_forward.over_web_socket(request, name, connect))

    def _start(
        self, pod: ObjectKey, container: str, argv: list[str], wanted: Wanted
    ) -> Callable[[], Process]:
        return partial(
            self._access.start,
            *(pod, container, argv),
            stdin=wanted.stdin,
            stderr=wanted.stderr and not wanted.tty,
            tty=wanted.tty,
        )

    def _end(self, pod: ObjectKey, container: str, exit_status: int) -> None:
        """Write that a Pod has ended with its program, if its restart policy says so."""
        document = self._access.document(pod)
        policy = document["spec"].get("restartPolicy") if document else "Always"
        if not document or policy == "Always" or (policy == "OnFailure" and exit_status):
            return
        ended = {
            "exitCode": exit_status,
            "reason": "Error" if exit_status else "Completed",
            "startedAt": document["status"].get("startTime"),
            "finishedAt": self._plane.now(),
        }
        phase = "Failed" if exit_status else "Succeeded"
        state = {"name": container, "state": {"terminated": ended}}
        status = {**document["status"], "phase": phase, "containerStatuses": [state]}
        with suppress(Refused):  # it may have been deleted meanwhile
            self._plane.update({**document, "status": status}, subresource="status")

    def _document(self, pod: ObjectKey) -> Json:
        document = self._access.document(pod)
        if document is None:
            words = f'pods "{pod[2]}" not found'
            raise Refused(words, status=404, reason="NotFound", kind="pods", name=pod[2])
        return document

    def _container(self, pod: ObjectKey, query: Query) -> str:
        """Return the container that is meant."""
        spec = self._document(pod)["spec"]
        names = [each["name"] for each in spec.get("containers", ())]
        asked = logs.first(query, "container")
        if not asked:
            if len(names) == 1:
                return str(names[0])
            choice = f"choose one of: [{' '.join(names)}]"
            raise _bad(f"a container name must be specified for pod {pod[2]}, {choice}")
        if asked not in names:
            raise _bad(f"container {asked} is not valid for pod {pod[2]}")
        return asked

    def _running(self, pod: ObjectKey, query: Query) -> str:
        """Return the container that is meant, of a pod that runs."""
        document = self._document(pod)
        phase = _phase(document)
        if phase in ("Succeeded", "Failed"):
            raise _bad(f"cannot exec into a container in a completed pod; current phase is {phase}")
        if not document["spec"].get("nodeName"):
            raise _bad(f"pod {pod[2]} does not have a host assigned")
        container = self._container(pod, query)
        if phase == "Pending":
            raise Refused(
                f'unable to upgrade connection: container not found ("{container}")',
                status=500,
                reason="InternalError",
            )
        return container


def _wanted(query: Query) -> Wanted:
    wanted = Wanted(*(logs.truth(query, each) for each in Wanted._fields))
    if not (wanted.stdin or wanted.stdout or wanted.stderr):
        raise _bad("you must specify at least one of stdin, stdout, stderr")
    return wanted


async def _joined(
    request: web.BaseRequest, wanted: Wanted, serve: Callable[[Channels], Awaitable[None]]
) -> web.StreamResponse:
    over = channels.over_web_socket if channels.is_web_socket(request) else channels.over_spdy
    return await _answered(request, over(request, wanted, serve))


async def _answered(
    request: web.BaseRequest, work: Coroutine[Any, Any, web.StreamResponse]
) -> web.StreamResponse:
    try:
        return await while_connected(request, work)
    except ConnectionResetError:  # it is nobody's loss
        return Hijacked()


def _phase(document: Json) -> str:
    return str(document.get("status", {}).get("phase", ""))


def _bad(words: str) -> Refused:
    return Refused(words, status=400, reason="BadRequest")
