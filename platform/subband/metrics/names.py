"""Names of the metrics that the platform computes; every one is better when higher."""

METRICS = (
    "image_auroc",
    "image_ap",
    "image_f1max",
    "pixel_auroc",
    "pixel_ap",
    "pixel_f1max",
    "au_pro_0.3",
    "au_pro_0.05",
)
