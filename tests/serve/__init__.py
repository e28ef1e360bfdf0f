"""Tests of the server: a package, so that its Ray ends before other tests begin theirs."""
