"""What starts and joins Ray."""

from subband.compute.local_ray import START_SECONDS, raise_start_limits, start_local_ray

__all__ = ["START_SECONDS", "raise_start_limits", "start_local_ray"]
