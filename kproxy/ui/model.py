"""All that the page shows, and what each browser has of it. Pure; not thread-safe."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kproxy.ui.entities import Entities, Json, name_of, of_document, of_host

_MOST_EVENTS = 300
_NOT_MEASURED: Json = {"clients": [], "number": 0, "running": False, "error": ""}


class View:
    """All that one browser does not have yet. An entity that changes again before that replaces its
    former state, so a slow browser makes no queue grow.
    """

    def __init__(self, there: Mapping[str, Json], wake: Callable[[], object]) -> None:
        """`wake` is called when there is something to take."""
        self._pending: dict[str, Json | None] = dict(there)
        self._wake = wake

    def put(self, changes: Mapping[str, Json | None]) -> None:
        """Add changes: an entity's new state, or None if it is gone."""
        self._pending.update(changes)
        self._wake()

    def take(self) -> dict[str, Json | None]:
        """Return what is pending; it is the browser's now."""
        found, self._pending = self._pending, {}
        return found


class Model:
    """All entities, kept up to date from what a lab tells."""

    def __init__(self) -> None:
        self.entities: Entities = {}
        self._views: list[View] = []
        self._events: deque[str] = deque()
        self._pods_on = "node"

    def view(self, wake: Callable[[], object]) -> View:
        """Return a view that has all of it pending."""
        view = View(self.entities, wake)
        self._views.append(view)
        return view

    def drop(self, view: View) -> None:
        """Forget a view whose browser has gone."""
        self._views.remove(view)

    def set(self, changes: Mapping[str, Json | None]) -> None:
        """Set entities, or remove those that are None. What is as before is not told."""
        new = {name: each for name, each in changes.items() if self.entities.get(name) != each}
        for name, each in new.items():
            if each is None:
                self.entities.pop(name, None)
            else:
                self.entities[name] = each
        if new:
            for view in self._views:
                view.put(new)

    def told(self, line: Mapping[str, Any]) -> None:
        """Take one line of what the lab tells (`telling`)."""
        if "hosts" in line:
            self._pods_on = line["podsOn"]
            self.set({name: e for host in line["hosts"] for name, e in of_host(host).items()})
        elif "documents" in line:
            self._begin(line["documents"])
        elif "key" in line:
            self._write(line["key"], line["document"])

    @property
    def measured_times(self) -> int:
        """The number of the last measurement, which may be running."""
        return int(self.entities.get("matrix", _NOT_MEASURED)["number"])

    def measured(self, line: Mapping[str, Any]) -> None:
        """Take one line of a measurement. A cell keeps what it was in the one before."""
        if "rows" in line:
            self._start_matrix(line["rows"], line["clients"])
        elif "row" in line:
            self._fill_row(line["row"], line["cells"])
        matrix = self.entities.get("matrix", _NOT_MEASURED)
        if "error" in line:
            number = matrix["number"] + (not matrix["running"])  # it has not even begun
            ended = {"number": number, "running": False, "error": line["error"]}
            self.set({"matrix": matrix | ended})
        elif "done" in line:
            self.set({"matrix": matrix | {"running": False}})

    def _begin(self, documents: Iterable[Json]) -> None:
        """Replace all that came from documents: the lab tells from the start again."""
        found: dict[str, Json | None] = {
            name: None
            for name, each in self.entities.items()
            if name.split("/")[0] in ("node", "service", "slice", "event")
            or (name.startswith("host/") and each["kind"] == "pod")
        }
        self._events.clear()
        for each in documents:
            found |= of_document(each, self._pods_on)
        events = [name for name in found if name.startswith("event/") and found[name]]
        for old in self._keep_events(events):
            found[old] = None
        self.set(found)

    def _write(self, key: Sequence[str], document: Json | None) -> None:
        name = name_of(key)
        if document is None:
            if key[0] != "Event":  # what happened stays on the page
                self.set({name: None})
            return
        changes: dict[str, Json | None] = {**of_document(document, self._pods_on)}
        if key[0] == "Event" and name not in self.entities:
            changes |= dict.fromkeys(self._keep_events([name]))
        self.set(changes)

    def _keep_events(self, names: Iterable[str]) -> list[str]:
        """Note new events; return those that are too many."""
        self._events.extend(names)
        return [self._events.popleft() for _ in range(len(self._events) - _MOST_EVENTS)]

    def _start_matrix(self, rows: Sequence[Json], clients: Sequence[str]) -> None:
        number = self.measured_times + 1
        changes: dict[str, Json | None] = {
            name: None for name in self.entities if name.startswith("row/")
        }
        for place, row in enumerate(rows):
            name = f"row/{row['id']}"
            former = self.entities.get(name, {})
            cells = {
                client: {"state": "waiting", "before": _result(former, client)}
                for client in clients
            }
            changes[name] = dict(row) | {"place": place, "cells": cells}
        matrix = {"clients": [*clients], "number": number, "running": True, "error": ""}
        self.set(changes | {"matrix": matrix})

    def _fill_row(self, row: str, cells: Mapping[str, Json]) -> None:
        name = f"row/{row}"
        if name not in self.entities:
            return
        former = self.entities[name]
        filled = {
            client: cells.get(client, {"state": "absent"}) | {"before": cell["before"]}
            for client, cell in former["cells"].items()
        }
        self.set({name: former | {"cells": filled}})


def _result(row: Mapping[str, Any], client: str) -> Json | None:
    """Return what the last measurement found in a cell, or None."""
    cell = row.get("cells", {}).get(client)
    if not cell or cell["state"] in ("waiting", "absent"):
        return cell["before"] if cell else None
    return {key: cell[key] for key in ("state", "answered", "source", "expected")}
