"""The resolv.conf of published namespaces: `ip netns exec NAME` mounts /etc/netns/NAME/resolv.conf.

The file exists only while the name is published, so the owner of the name owns the file. A file
that does not begin with our mark is not ours: it is neither changed nor removed.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from kproxy.errors import BadInput, Unsupported

ETC_DIR = Path("/etc/netns")
_FILE = "resolv.conf"
_UNFINISHED = ".kproxy-resolv.conf"
_MARK = "# of a kproxy lab\n"


def write_resolv_conf(name: str, text: str) -> None:
    """Write the resolv.conf of `ip netns exec NAME`. `name` is published, and ours.

    An earlier file of ours, such as from before a reboot, is replaced. Raises BadInput if there is
    one that is not ours, Unsupported if /etc cannot be written to.
    """
    path = ETC_DIR / name / _FILE
    if path.exists() and not _is_ours(path):
        raise BadInput(
            [f"{path} exists already, and is not of a kproxy lab"],
            remedy="move it away, or give the lab another name",
        )
    unfinished = path.with_name(_UNFINISHED)
    while True:
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            unfinished.write_text(_MARK + text)
            break
        except FileNotFoundError:  # another lab ended and removed the empty folder
            continue
        except OSError as error:
            raise Unsupported(
                f"cannot write {path}: {error.strerror}",
                remedy="make /etc writable, or do not publish the lab's namespaces",
            ) from None
    unfinished.rename(path)


def remove_resolv_conf(name: str) -> None:
    """Remove what `write_resolv_conf` wrote, if it exists, and the folders that are empty then."""
    folder = ETC_DIR / name
    own = [folder / _UNFINISHED, *([folder / _FILE] if _is_ours(folder / _FILE) else [])]
    for path in own:
        path.unlink(missing_ok=True)
    for each in (folder, ETC_DIR):
        with contextlib.suppress(OSError):  # not empty, or not there
            each.rmdir()


def _is_ours(path: Path) -> bool:
    try:
        with path.open() as file:
            return file.readline() == _MARK
    except (OSError, UnicodeDecodeError):
        return False
