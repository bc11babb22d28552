"""fastMRI's HDF5 files."""
