"""Certificates for Dask: its ports run any code they are sent, so strangers are kept out by TLS.

`write_certificates` writes a new key, its certificate and a configuration that names both. Set
``DASK_CONFIG`` to the folder wherever scheduler, workers and ``mri-alps`` are started; all of
them then speak with holders of this key only.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mri_alps.core.errors import ConfigurationError, MissingDependencyError

KEY, CERTIFICATE, SETTINGS = "key.pem", "certificate.pem", "tls.yaml"


def temporary_security() -> Any:
    """Return a new key and certificate that are kept in memory, as Dask takes them.

    Returns
    -------
    distributed.Security
        It refuses connections without encryption.

    Raises
    ------
    MissingDependencyError
        If Dask or the package ``cryptography`` is not installed.
    """
    try:
        from distributed import Security

        return Security.temporary()
    except ImportError as error:
        raise MissingDependencyError(
            "Dask's connections are encrypted, which needs a package that is not installed "
            f"({error}): pip install 'mri-alps[cluster]'"
        ) from error


def write_certificates(folder: str | Path) -> dict[str, Any]:
    """Write a new key and certificate for a cluster, and the Dask configuration that names them.

    Parameters
    ----------
    folder : str or pathlib.Path
        On a file system that all machines see under the same path; made if needed, for this user
        alone. Certificates that are there are not replaced.

    Returns
    -------
    dict
        What the configuration says, for `dask.config.set`.

    Raises
    ------
    ConfigurationError
        If the folder holds certificates, or others may write to it.
    MissingDependencyError
        If Dask or the package ``cryptography`` is not installed.
    """
    folder = Path(folder).expanduser().resolve()
    security = temporary_security()
    import dask.config

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o022:
        raise ConfigurationError(
            f"others may write to {folder}, where the key of the cluster was to be kept: give a "
            "folder of your own (chmod 700)"
        )
    _write_private(folder / KEY, security.tls_worker_key)
    _write_private(folder / CERTIFICATE, security.tls_worker_cert)
    certificate, tls = str(folder / CERTIFICATE), "distributed.comm.tls"
    settings = {"distributed.comm.require-encryption": True, f"{tls}.ca-file": certificate}
    for role in ("client", "scheduler", "worker"):
        settings |= {f"{tls}.{role}.cert": certificate, f"{tls}.{role}.key": str(folder / KEY)}
    nested: dict[str, Any] = {}
    dask.config.set(settings, config=nested)
    _write_private(folder / SETTINGS, json.dumps(nested, indent=2))  # JSON is YAML as well
    return settings


@contextlib.contextmanager
def shared_certificates(folder: str | Path) -> Iterator[Path]:
    """Use new certificates for the clusters and clients of this process, and delete them after.

    Parameters
    ----------
    folder : str or pathlib.Path
        On a file system that all machines see under the same path; a hidden folder is made there.

    Yields
    ------
    pathlib.Path
        Where key, certificate and configuration are.
    """
    with tempfile.TemporaryDirectory(prefix=".dask-tls-", dir=folder) as own:
        settings = write_certificates(own)
        import dask.config

        with dask.config.set(settings):
            yield Path(own)


def _write_private(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigurationError(
            f"{path} is there already and may be in use: give another folder, or delete it"
        ) from None
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
