"""Sequences of frames."""
