"""kubectl exec, cp, logs, port-forward and attach, over WebSockets and over SPDY."""

from __future__ import annotations

import copy
import os
import pty
import struct
import subprocess
import termios
import time
from collections.abc import Mapping
from fcntl import ioctl
from hashlib import sha256
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from netns_tests.run.running import until
from netns_tests.streams.served_lab import KUBECTL, TIMEOUT_S, ServedLab

Transport = Mapping[str, str]
EVERY_BYTE = bytes(range(256))
MEGABYTES = EVERY_BYTE * (8 << 12)


def test_output_errors_and_exit_status(cluster: ServedLab, transport: Transport) -> None:
    command = ("exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    done = cluster.kubectl(*command, transport=transport)
    assert done.returncode == 3
    assert done.stdout == b"out\n"
    assert done.stderr.startswith(b"err\n")


def test_input_is_passed_on_to_its_end(cluster: ServedLab, transport: Transport) -> None:
    done = cluster.kubectl("exec", "-i", "web", "--", "cat", transport=transport, stdin=MEGABYTES)
    assert done.returncode == 0
    assert sha256(done.stdout).digest() == sha256(MEGABYTES).digest()


def test_input_that_nobody_reads_does_not_matter(cluster: ServedLab, transport: Transport) -> None:
    done = cluster.kubectl(
        "exec", "-i", "web", "--", "head", "-c", "3", transport=transport, stdin=b"abc" + MEGABYTES
    )
    assert (done.returncode, done.stdout) == (0, b"abc")


def test_arguments_are_taken_as_they_are(cluster: ServedLab, transport: Transport) -> None:
    odd = ("a b", "$HOME", "'", '"', "ä", "*", "&&", "-n")
    done = cluster.kubectl("exec", "web", "--", "printf", "%s|", *odd, transport=transport)
    assert done.stdout.decode().split("|")[:-1] == [*odd]


def test_a_terminal_has_the_size_of_ours(cluster: ServedLab, transport: Transport) -> None:
    ours, theirs = pty.openpty()
    ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
    # A size is told as soon as there is a terminal, which may be a moment after the start.
    script = 'until [ "$(stty size)" = "33 111" ]; do :; done; tty; echo $TERM; read x; exit 7'
    with subprocess.Popen(
        [KUBECTL, "exec", "-it", "web", "--", "sh", "-c", script],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=cluster.environment(transport),
    ) as process:
        os.close(theirs)
        said = b""
        while b"xterm" not in said:
            said += os.read(ours, 1000)
        assert b"/dev/pts/" in said
        os.write(ours, b"\n")
        assert process.wait(TIMEOUT_S) == 7
    os.close(ours)


def test_a_program_that_is_not_there(cluster: ServedLab, transport: Transport) -> None:
    done = cluster.kubectl("exec", "web", "--", "nosuch", transport=transport)
    assert done.returncode == 1
    assert b'exec: "nosuch": executable file not found in $PATH' in done.stderr


def test_containers_are_checked(cluster: ServedLab, transport: Transport) -> None:
    assert (
        b"is not valid for pod"
        in cluster.kubectl("exec", "web", "-c", "none", "--", "true", transport=transport).stderr
    )
    assert not cluster.kubectl("exec", "two", "-c", "two", "--", "true", transport=transport).stderr


def test_files_are_copied_both_ways(
    cluster: ServedLab, transport: Transport, tmp_path: Path
) -> None:
    (tmp_path / "here").write_bytes(MEGABYTES)
    here, there, back = str(tmp_path / "here"), "web:/tmp/there", str(tmp_path / "back")
    for source, target in ((here, there), (there, back)):
        done = cluster.kubectl("cp", source, target, transport=transport)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "back").read_bytes() == MEGABYTES
    assert not Path("/tmp/there").exists()


def test_attach_says_what_to_do_instead(cluster: ServedLab, transport: Transport) -> None:
    done = cluster.kubectl("attach", "web", transport=transport)
    assert done.returncode == 1
    assert b"pod web runs no process to attach to" in done.stderr


def test_ports_are_forwarded(cluster: ServedLab, transport: Transport) -> None:
    with cluster.started("port-forward", "web", ":80", ":81", transport=transport) as process:
        assert process.stdout
        ports: list[str] = []
        while len(ports) < 4:
            ports.append(process.stdout.readline().split(b" -> ")[0].rpartition(b":")[2].decode())
        for path in ("/first", "/second"):
            with urlopen(f"http://127.0.0.1:{ports[0]}{path}", timeout=TIMEOUT_S) as answer:
                said = answer.read()
            assert b'"pod": "web"' in said
            assert path.encode() in said
        with pytest.raises((URLError, OSError)):
            urlopen(f"http://127.0.0.1:{ports[2]}/", timeout=TIMEOUT_S)
        said = b""
        while b"error forwarding port 81 to pod web" not in said:
            said = process.stdout.readline()
            assert said, "kubectl has ended"
        assert b"connection refused" in said


def test_logs(cluster: ServedLab, transport: Transport) -> None:
    address = next(iter(cluster.lab.pods["web"].addresses.values()))
    before = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    for number in range(3):
        fetch = f"import urllib.request as u; u.urlopen('http://{address}/{number}')"
        assert cluster.lab.pod("two").run(("python3", "-c", fetch)).returncode == 0
    two = next(iter(cluster.lab.pods["two"].addresses.values()))

    def logs(*options: str) -> list[str]:
        done = cluster.kubectl("logs", "web", *options, transport=transport)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().splitlines()

    assert [line.split(" ")[1:] for line in logs("--tail=2")] == [
        ["GET", "/1", "200"],
        ["GET", "/2", "200"],
    ]
    (line,) = logs("--tail=1", "--timestamps")
    stamp, client, *_ = line.split(" ")
    assert before <= stamp
    assert stamp.endswith("Z")
    assert client.startswith(f"{two}:")
    assert len("\n".join(logs("--limit-bytes=20"))) == 20
    assert logs("--tail=0") == []
    assert logs("--since=1h")[-1].endswith("GET /2 200")
    assert logs("--since-time=2100-01-01T00:00:00Z") == []


def test_logs_are_followed_until_the_pod_ends(cluster: ServedLab, transport: Transport) -> None:
    address = next(iter(cluster.lab.pods["web"].addresses.values()))
    fetch = f"import urllib.request as u; u.urlopen('http://{address}/followed')"
    with cluster.started("logs", "-f", "--tail=0", "web", transport=transport) as process:
        output = process.stdout
        assert output
        os.set_blocking(output.fileno(), False)
        line: list[bytes] = []

        def has_come() -> bool:
            """Ask again: kubectl may not follow yet."""
            assert cluster.lab.pod("two").run(("python3", "-c", fetch)).returncode == 0
            if said := output.readline():
                line.append(said)
            return bool(line)

        until("a line of the log", has_come)
        assert line[0].endswith(b"GET /followed 200\n")
        cluster.lab.pod("web").restart()
        process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0


def test_a_pod_that_has_just_ended_has_no_log_any_more(cluster: ServedLab) -> None:
    ended = copy.deepcopy(cluster.plane.get(("Pod", "default", "web")))
    assert ended
    ended["metadata"] = {"name": "ended", "namespace": "default"}
    cluster.plane.create(ended)
    try:
        for options in ((), ("-f",)):
            done = cluster.kubectl("logs", "ended", *options, transport={})
            assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    finally:
        cluster.plane.delete(("Pod", "default", "ended"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("web", "--previous"), 'previous terminated container "answer" in pod "web" not found'),
        (("web", "-c", "none"), "container none is not valid for pod web"),
        (("none",), 'pods "none" not found'),
    ],
)
def test_logs_that_are_not_there(cluster: ServedLab, options: tuple[str, ...], words: str) -> None:
    done = cluster.kubectl("logs", *options, transport={})
    assert done.returncode == 1
    assert words in done.stderr.decode()
