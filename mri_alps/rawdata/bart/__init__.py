"""BART's cfl files."""
