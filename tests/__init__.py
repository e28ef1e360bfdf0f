"""Tests; a package, so that fixtures of a whole folder end with it."""
