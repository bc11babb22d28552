"""Siemens raw data (twix, `.dat`) of VB and of VD and later software."""
