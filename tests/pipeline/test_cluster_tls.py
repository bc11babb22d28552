"""Certificates of a cluster that runs already, and the warning where it has none."""

import warnings

import pytest

from mri_alps.core.errors import ConfigurationError, MriAlpsWarning

pytest.importorskip("distributed")
pytest.importorskip("cryptography")

import distributed
from dask import config

from mri_alps.pipeline.cluster import shared_certificates, write_certificates
from mri_alps.pipeline.cluster.local import connect

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def scheduler_alone(protocol):
    """A cluster without workers."""
    options = {"host": "127.0.0.1", "protocol": protocol, "dashboard_address": "127.0.0.1:0"}
    scheduler = {"cls": distributed.Scheduler, "options": {**options, "port": 0}}
    return distributed.SpecCluster(scheduler=scheduler, security=distributed.Security())


def test_a_cluster_with_certificates_is_joined_without_a_warning(tmp_path):
    with shared_certificates(tmp_path) as folder, scheduler_alone("tls://") as cluster:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / "key.pem").stat().st_mode & 0o777 == 0o600
        # What another process reads that is told DASK_CONFIG says the same.
        (read,) = config.collect_yaml([str(folder)])
        written = read["distributed"]["comm"]["tls"]
        assert written["worker"]["key"] == str(folder / "key.pem")
        assert written.items() <= config.get("distributed.comm.tls").items()
        with warnings.catch_warnings():
            warnings.simplefilter("error", MriAlpsWarning)
            with connect(None, cluster.scheduler_address, "cpu", None) as client:
                assert client.scheduler.address.startswith("tls://")
        address = cluster.scheduler_address
        nothing = {"require-encryption": False, "tls.ca-file": None}
        with (
            config.set({f"distributed.comm.{name}": value for name, value in nothing.items()}),
            pytest.raises(ConfigurationError, match="certificates"),
            connect(None, address, "cpu", None),
        ):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_without_certificates_is_joined_with_a_warning():
    with (
        scheduler_alone("tcp://") as cluster,
        pytest.warns(MriAlpsWarning, match="runs code as you"),
        connect(None, cluster.scheduler_address, "cpu", None),
    ):
        pass


def test_certificates_are_neither_replaced_nor_kept_where_others_write(tmp_path):
    write_certificates(tmp_path / "mine")
    key = (tmp_path / "mine" / "key.pem").read_bytes()
    with pytest.raises(ConfigurationError, match="already"):
        write_certificates(tmp_path / "mine")
    assert (tmp_path / "mine" / "key.pem").read_bytes() == key
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(ConfigurationError, match="others may write"):
        write_certificates(shared)
    assert list(shared.iterdir()) == []
