"""MRD 2: streams of records as mrd-python defines them (https://github.com/ismrmrd/mrd)."""
