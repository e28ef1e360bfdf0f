"""The method under the platform's contract: one class, and pytest runs the whole suite."""

from subband.testing import MethodContract


class TestColour(MethodContract):
    name = "colour"
    params = {"image_size": 32}
    variations = {
        "framing": {"framing": "crop", "resize": 40},
        "image_size": 40,
        "resampling": "bilinear",
        "floor": 0.1,
        "sigma": 4.0,
    }
    bad_params = {"framing": "zoom", "resize": 8, "image_size": 8, "resampling": "nearest", "floor": 0, "sigma": -1}
