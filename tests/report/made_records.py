"""Trial records and images with known values."""

import numpy as np
from scipy import ndimage

from subband.trials import TrialRecord

SEARCHED = ("wavelet", "level", "subbands", "sigma", "cov_reg")


def record(number, choose=None, report=None, status="complete", searched=SEARCHED, trial_s=1.0, **params):
    """One record; ``choose`` and ``report`` are image_auroc values or dicts of metrics."""

    def as_metrics(value):
        return {} if value is None else value if isinstance(value, dict) else {"image_auroc": value}

    return TrialRecord(
        trial_id=f"t{number}",
        number=number,
        params={"wavelet": "haar", "level": 1, "subbands": "LL+LH", "sigma": 4.0, "cov_reg": 0.01, **params},
        searched=searched,
        status=status,
        choose=as_metrics(choose),
        report=as_metrics(report),
        timings={"trial": trial_s},
        error="sigma must lie in [0, 20]\nmore" if status == "failed" else None,
    )


def sweep(count=30, seed=0):
    """Complete trials whose image_auroc depends on sigma strongly, on the wavelet weakly and on cov_reg not at all."""
    rng = np.random.default_rng(seed)
    records = []
    for number in range(count):
        params = {
            "wavelet": str(rng.choice(["haar", "db4"])),
            "level": int(rng.integers(1, 3)),
            "subbands": str(rng.choice(["LL", "LL+LH", "LL+LH+HL"])),
            "sigma": float(rng.choice([0, 2, 4, 6])),
            "cov_reg": float(10 ** rng.uniform(-4, -1)),
        }
        value = 0.9 - 0.02 * abs(params["sigma"] - 4) + 0.005 * (params["wavelet"] == "haar") + rng.normal() * 1e-4
        metrics = {"image_auroc": value, "pixel_auroc": 1.8 - value + rng.normal() * 0.01}
        records.append(record(number, metrics, {name: v - 0.01 for name, v in metrics.items()}, **params))
    return records


def pictures(count=4, height=40, width=48, seed=0):
    """uint8 images, masks (odd ones empty) and maps that answer to them."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 3, height, width), dtype=np.uint8)
    masks = np.zeros((count, height, width), bool)
    masks[::2, 5:15, :20] = True
    maps = ndimage.gaussian_filter(rng.normal(size=masks.shape), (0, 3, 3)) + masks
    return images, masks, maps.astype(np.float32)


def words(figure):
    """Every piece of text that the figure shows."""
    import matplotlib.text

    texts = figure.findobj(lambda artist: isinstance(artist, matplotlib.text.Text) and artist.get_visible())
    return " | ".join(text.get_text().replace("\n", " ") for text in texts if text.get_text().strip())
