"""Scans over many processes and machines, with Dask; needs the extra ``mri-alps[cluster]``."""

from mri_alps.cluster.engine import reconstruct_on_cluster

__all__ = ["reconstruct_on_cluster"]
