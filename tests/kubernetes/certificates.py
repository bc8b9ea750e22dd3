"""Certificates of an authority that exists for one run of tests, made by the openssl program."""

from __future__ import annotations

import subprocess
from base64 import b64encode
from pathlib import Path

from msgspec import Struct

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")


class Pair(Struct, frozen=True):
    """A certificate with its key, each in a file in PEM format."""

    certificate: Path
    key: Path


class Authority:
    """Issues certificates into a folder."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._name = name
        self.certificate = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        _openssl(
            "req", "-x509", *_NEW_KEY, "-keyout", self._key, "-out", self.certificate,
            "-days", "2", "-subj", f"/CN={name}",
        )  # fmt: skip

    def issue(self, name: str, alternative: str = "IP:127.0.0.1", days: int = 2) -> Pair:
        """Issue a certificate for a subject. `days` -1: it expired yesterday."""
        made = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request = self._folder / f"{name}.csr"
        _openssl(
            "req", "-new", *_NEW_KEY, "-keyout", made.key, "-out", request,
            "-subj", f"/CN={name}", "-addext", f"subjectAltName={alternative}",
        )  # fmt: skip
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key,
            "-days", str(days), "-copy_extensions", "copy", "-out", made.certificate,
        )  # fmt: skip
        return made


def encoded(file: Path) -> str:
    """Return a file as a kubeconfig's -data field has it."""
    return b64encode(file.read_bytes()).decode()


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
