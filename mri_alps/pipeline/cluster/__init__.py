"""Scans over many processes and machines, with Dask; needs the extra ``mri-alps[cluster]``."""

from mri_alps.pipeline.cluster.certificates import shared_certificates, write_certificates
from mri_alps.pipeline.cluster.engine import reconstruct_on_cluster

__all__ = ["reconstruct_on_cluster", "shared_certificates", "write_certificates"]
