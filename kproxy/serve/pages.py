"""The paths of the health server and of the metrics server, and who answers each.

Source: kube-proxy v1.36 cmd/kube-proxy/app/server.go (serveHealthz, serveMetrics).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs, unquote

from kproxy.loop.http import Request, Response
from kproxy.serve.status_pages import plain

Page = Callable[[Request], Response]

NO_PPROF = (
    "kproxy is written in Python and has no pprof; a sampling profiler such as py-spy shows what"
    " its threads do\n"
)


class Pages:
    """Pages by exact path; other paths are answered with 404. Any method will do."""

    def __init__(self, pages: Mapping[str, Page]) -> None:
        self._pages = pages

    @property
    def paths(self) -> tuple[str, ...]:
        """Return the first parts of all paths, but not of pages about the process."""
        firsts = {"/" + path.split("/")[1] for path in self._pages}
        return tuple(sorted(firsts - {"/statusz"}))

    def respond(self, request: Request) -> Response:
        path = _path(request.target)
        page = self._pages.get(path)
        if page is None and path.startswith("/debug/pprof/"):
            page = self._pages.get("/debug/pprof")
        return page(request) if page else plain(404, "404 page not found\n")


def _path(target: str) -> str:
    """Return the decoded path of a request's target, also of an absolute one, as for a proxy."""
    if not target.startswith("/"):
        target = f"/{target.partition('://')[2].partition('/')[2]}"
    return unquote(target.partition("?")[0])


class Ping:
    """The health check `ping`, which always succeeds, and how often it was asked for."""

    def __init__(self) -> None:
        self.successes = 0

    def answer(self, request: Request) -> Response:
        self.successes += 1
        _, _, query = request.target.partition("?")
        if "verbose" in parse_qs(query, keep_blank_values=True):
            return plain(200, "[+]ping ok\nhealthz check passed\n")
        return plain(200, "ok")


def counted(page: Page, counts: Counter[int]) -> Page:
    """Return the page with its answers counted by status."""

    def answer(request: Request) -> Response:
        response = page(request)
        counts[response.status] += 1
        return response

    return answer


def debug_pages(set_verbosity: Callable[[int], object]) -> dict[str, Page]:
    """Return the pages that enableProfiling adds."""

    def verbosity(request: Request) -> Response:
        if request.method != "PUT":
            return plain(405, "PUT a number, such as 4\n")
        text = request.body.decode("latin-1").strip()
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            return plain(400, f"{text[:20]!r} is not a verbosity, such as 4\n")
        set_verbosity(int(text))
        return plain(200, f"verbosity is {int(text)} now\n")

    return {
        "/debug/flags": lambda _request: plain(200, "/debug/flags/v\n"),
        "/debug/flags/v": verbosity,
        "/debug/pprof": lambda _request: plain(404, NO_PPROF),
    }
