"""What `subband sweep colour` explores; found beside the method by its name."""

from subband.spaces import Point, Space


def suggest(trial) -> Point:
    """One configuration."""
    return {
        "sigma": trial.suggest_float("sigma", 0.5, 8.0, step=0.5),
        "floor": trial.suggest_float("floor", 0.005, 0.1),
    }


SPACE = Space("colour", suggest, {}, "sigma and floor", smoke={"image_size": 32})
