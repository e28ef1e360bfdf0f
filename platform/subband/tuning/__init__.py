"""Ray Tune: spaces, trials, sweeps and champions."""
