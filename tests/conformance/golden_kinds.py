"""Every kind of golden case, by method folder: how it is checked, and how its cases are found without a cases.json."""

import golden_baselines
import golden_wedgenet
import golden_wepadim
import golden_wpformer
import golden_wpformer_metrics
import golden_wsfvit
import golden_wsfvit_video

CHECKS = {
    "baselines": golden_baselines.CHECKS,
    "wedgenet": golden_wedgenet.CHECKS,
    "wepadim": golden_wepadim.CHECKS,
    "wpformer": {**golden_wpformer.CHECKS, **golden_wpformer_metrics.CHECKS},
    "wsfvit": {**golden_wsfvit.CHECKS, **golden_wsfvit_video.CHECKS},
}

# WE-PaDiM's files do not hold their seeds and shapes, so nothing can be read off them.
KINDS = {
    "baselines": golden_baselines.KINDS,
    "wedgenet": dict.fromkeys(golden_wedgenet.CHECKS),
    "wpformer": {**golden_wpformer.KINDS, **dict.fromkeys(golden_wpformer_metrics.CHECKS)},
    "wsfvit": dict.fromkeys({**golden_wsfvit.CHECKS, **golden_wsfvit_video.CHECKS}),
}
