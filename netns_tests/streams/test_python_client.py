"""exec through the Python client, which speaks v4.channel.k8s.io and knows no half close."""

from __future__ import annotations

from kubernetes import client, config
from kubernetes.stream import stream

from netns_tests.streams.served_lab import ServedLab


def test_a_command_with_input_and_a_status(cluster: ServedLab) -> None:
    api = config.new_client_from_config(cluster.environment({})["KUBECONFIG"])
    try:
        process = stream(
            client.CoreV1Api(api).connect_get_namespaced_pod_exec,
            "web",
            "default",
            command=["sh", "-c", "read x; echo got $x; echo err >&2; exit 9"],
            stdin=True,
            stdout=True,
            stderr=True,
            tty=False,
            _preload_content=False,
        )
        process.write_stdin("something\n")
        process.run_forever(timeout=30)
        assert process.read_stdout() == "got something\n"
        assert process.read_stderr() == "err\n"
        assert process.returncode == 9
        process.close()
        process.sock.shutdown()  # which `close` leaves out after the server has closed
    finally:
        api.close()
