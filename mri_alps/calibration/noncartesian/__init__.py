"""Calibration of scans along trajectories: noise, gradient delays, the centre, one slice."""
