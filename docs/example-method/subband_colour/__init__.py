"""Colour statistics as a method of subband."""
