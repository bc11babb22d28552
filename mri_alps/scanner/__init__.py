"""Scanners and their servers: the MRD protocol, a server, a client, and plugins for others.

Nothing is imported here, so that ``mri_alps.scanner.ismrmrd_server`` can be found by servers
that know nothing of this package.
"""
