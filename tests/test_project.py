"""House rules that a program can check."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from kproxy.backend import modes

ROOT = Path(__file__).parents[1]
MODULES = [
    path
    for room in ("kproxy", "backends", "tests", "netns_tests")
    for path in ROOT.glob(room + "/**/*.py")
]
PACKAGES = [
    ".".join(path.relative_to(ROOT).parts[1 if path.is_relative_to(ROOT / "backends") else 0 : -1])
    for path in MODULES
    if path.name == "__init__.py" and path.relative_to(ROOT).parts[0] in ("kproxy", "backends")
]
TEXTS = [
    path
    for top in ROOT.iterdir()
    if not top.name.startswith(".") or top.name == ".ci"
    for path in (top.rglob("*") if top.is_dir() else [top])
    if path.is_file() and path.suffix in ("", ".lock", ".md", ".py", ".sh", ".toml", ".yaml")
]

MOST_LINES = 450
PURE = (
    "kproxy.address",
    "kproxy.api",
    "kproxy.apiserver",
    "kproxy.controlplane",
    "kproxy.errors",
    "kproxy.forwarding",
    "kproxy.outcome",
    "kproxy.store",
    "kproxy.typed",
    "kproxy.versions",
)
SHELLS = ("kproxy.apiserver.http",)  # thin ones within a pure room
NOT_PURE = {"asyncio", "os", "pyroute2", "scapy", "select", "socket", "subprocess", "threading"}
PURE_FUNCTIONS = {
    "socket.AF_INET",
    "socket.AF_INET6",
    "socket.AddressFamily",
    "threading.Lock",  # of kproxy.typed, whose results are always the same
    "socket.inet_ntop",
    "socket.inet_pton",
}
HEAVY = {  # the command line -> what it must not import, to answer at once and to stay small
    "--help": {"asyncio", "h11", "kubernetes", "urllib3", "pyroute2", "rich", "scapy", "yaml"},
    "run --help": {"asyncio", "h11", "kubernetes", "urllib3", "rich", "scapy"},
    "explain --help": {
        "asyncio",
        "h11",
        "kubernetes",
        "pyroute2",
        "rich",
        "scapy",
        "urllib3",
        "yaml",
    },
    "demo --help": {"asyncio", "h11", "pyroute2", "rich", "scapy"},
    "up --help": {"aiohttp", "asyncio", "h11", "pyroute2", "rich", "scapy"},
    "doctor --help": {"aiohttp", "asyncio", "h11", "pyroute2", "rich", "scapy", "yaml"},
    "ls": {"aiohttp", "asyncio", "h11", "pyroute2", "rich", "scapy", "yaml"},
    "get --help": {"aiohttp", "asyncio", "h11", "pyroute2", "rich", "scapy", "yaml"},
}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(path.read_text())))


def imports(path: Path) -> Iterator[str]:
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def under(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


PURE_MODULES = [
    path
    for path in MODULES
    if under(module := name(path).removesuffix(".py").replace("/", "."), PURE)
    and not under(module, SHELLS)
]


@pytest.mark.parametrize("path", PURE_MODULES, ids=name)
def test_the_core_is_pure(path: Path) -> None:
    """A pure module has no input, output or threads, and imports only pure modules of kproxy."""
    for module in imports(path):
        assert module.partition(".")[0] not in NOT_PURE or module in PURE_FUNCTIONS
        assert under(module, PURE) or not under(module, ("kproxy",))


def room_of(path: Path) -> str:
    """Return the room as docs/design.md names it, such as `kproxy/lab` or `kproxy/store.py`."""
    return "/".join(path.relative_to(ROOT).parts[:2])


def rooms() -> dict[str, set[str]]:
    """Return the rooms of docs/design.md, each with the rooms of kproxy that it may import."""
    rows = re.findall(
        r"^\| `((?:kproxy|backends)/[\w.]+)` \| .* \| (.*?)\|$",
        (ROOT / "docs" / "design.md").read_text(),
        re.MULTILINE,
    )
    return {room: {*re.findall(r"`(\w+)`", known)} for room, known in rows}


ROOMS = rooms()
IN_ROOMS = [path for path in MODULES if path.relative_to(ROOT).parts[0] in ("kproxy", "backends")]
LOBBY = ("kproxy/__init__.py", "kproxy/__main__.py")


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_knows_what_it_may_know(room: str) -> None:
    own = Path(room).stem
    unknown = {
        f"{name(path)} imports {module}"
        for path in IN_ROOMS
        if room_of(path) == room
        for module in imports(path)
        if module.startswith("kproxy.") and module.split(".")[1] not in {own, *ROOMS[room]}
    }
    assert unknown == set()


def test_no_room_is_left_out() -> None:
    there = {room_of(path) for path in IN_ROOMS} - {*LOBBY}
    assert there == {*ROOMS}


def test_the_core_compares_no_name_of_a_mode() -> None:
    """The core asks the `Mode`. It has names of modes only for defaults."""
    names = {*modes()}
    found = []
    for path in MODULES:
        if not name(path).startswith("kproxy/"):
            continue
        for node in nodes(path):
            if isinstance(node, ast.Compare | ast.MatchValue) and any(
                isinstance(part, ast.Constant) and part.value in names for part in ast.walk(node)
            ):
                found.append(f"{name(path)}:{node.lineno}: {ast.unparse(node)}")
    assert found == []


def test_a_backend_needs_nothing_of_kproxy_but_its_contract() -> None:
    """The contract is enough for kproxy_userspace, and what copies bytes for other modes, too."""
    found = {
        module
        for path in ROOT.glob("backends/kproxy_userspace/*.py")
        for module in imports(path)
        if under(module, ("kproxy",))
    }
    assert found
    assert {
        module
        for module in found
        if module.rpartition(".")[0] != "kproxy.backend" and not under(module, ("kproxy.relay",))
    } == set()


def test_docstrings_are_sentences() -> None:
    """A fragment such as "Whether it is there" has no verb: it hides what the function does."""
    found = []
    for path in MODULES:
        for node in nodes(path):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node) or ""
                if re.match(r"(Of|What|Whether)\b", text):
                    line = getattr(node, "lineno", 1)
                    found.append(f"{name(path)}:{line}: {text.splitlines()[0]}")
    assert found == []


READS_TYPES = re.compile(r"msgspec(?:\.json|_json)?\.(?:convert|Decoder)\(|json\.decode\(.*type=")


def test_types_are_read_in_one_place() -> None:
    """Elsewhere two threads could read one at the same time, which crashes a process."""
    found = [
        f"{name(path)}:{number}: {line}"
        for path in MODULES
        if name(path).startswith(("kproxy/", "backends/")) and name(path) != "kproxy/typed.py"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if READS_TYPES.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("command", HEAVY)
def test_imports_are_lazy(command: str) -> None:
    program = (
        "import sys, kproxy.cli\n"
        "try: kproxy.cli.main(sys.argv[1:])\n"
        "finally: print('imported:', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command.split()],
        capture_output=True,
        text=True,
        check=True,
    )
    assert HEAVY[command] & set(done.stdout.partition("imported:")[2].split()) == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_what_it_is_and_exports_what_it_says(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__doc__
    for exported in getattr(module, "__all__", ()):
        assert hasattr(module, exported)


def test_modules_are_small() -> None:
    lengths = {name(path): path.read_text().count("\n") for path in MODULES}
    assert {path: length for path, length in lengths.items() if length > MOST_LINES} == {}


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("a path of somebody's machine", r"(?<![\w.~$}])/(?:home|root|work|mnt|Users)/"),
        ("a promise to do it later", r"\b(?:TODO|FIXME|XXX)\b"),
        ("a test that does not run", r"(?:mark|pytest)\.(?:skip|xfail|importorskip)"),
    ],
)
def test_no_file_contains(what: str, pattern: str) -> None:
    found = [
        f"{name(path)}:{number}: {line}"
        for path in TEXTS
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert found == [], what


ADDRESS = ROOT / "kproxy/address.py"
PARSES_ADDRESSES = "kproxy/api/addresses.py"  # text there may be no address yet, nor canonical


def spelled_out(path: Path) -> Iterator[str]:
    """Yield what a module does itself though `kproxy.address` has a function for it."""
    own = {node.name for node in ast.parse(ADDRESS.read_text()).body if hasattr(node, "name")}
    for node in nodes(path):
        match node:
            case ast.Compare(left=ast.Constant(value=":"), ops=[ast.In() | ast.NotIn()]):
                yield f"{node.lineno}: a colon is looked for: family_of"
            case ast.Attribute(attr="AF_INET6") | ast.alias(name="AF_INET6"):
                yield f"{node.lineno}: AF_INET6: socket_family"
            case ast.JoinedStr(values=parts):
                for before, after in zip(parts, parts[2:], strict=False):
                    if literal(before).endswith("[") and literal(after) == "]:":
                        yield f"{node.lineno}: an address in brackets: host_port"
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) if name in own:
                yield f"{node.lineno}: another {name}"
            case ast.Assign(targets=[ast.Name(id=name)]) if name in own:
                yield f"{node.lineno}: another {name}"


def literal(part: ast.expr) -> str:
    """Return the text of a part of an f-string; "" for a value in it."""
    return str(part.value) if isinstance(part, ast.Constant) else ""


def test_families_and_ports_of_addresses_have_one_home() -> None:
    found = [
        f"{name(path)}:{each}"
        for path in MODULES
        if path != ADDRESS and name(path) != PARSES_ADDRESSES
        for each in spelled_out(path)
    ]
    assert found == []


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    pinned = {line.partition("==")[0] for line in lock if re.fullmatch(r"[\w.-]+==[\w.]+", line)}
    assert pinned == {line.partition("==")[0] for line in lock if not line.startswith("#")}
    assert {re.split(r"[<>=~!]", requirement)[0] for requirement in wanted} <= pinned
