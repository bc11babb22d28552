"""ISMRMRD: files, and acquisitions as they come in."""
