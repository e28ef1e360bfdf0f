"""How each kind of WEDGE-Net golden case is checked; array names and tolerances as in its README.

Seeds and shapes of the inputs are stored with the outputs. Shapes: B images, D channels, a 28 x 28 grid of positions.
"""

import functools
import io

import numpy as np
import pytest
import torch
from golden_files import GoldenCase
from PIL import Image

from subband.analysis.gap import grid_rule, score_gap
from subband.analysis.perturb import add_noise, jitter_colour
from subband.banks.kcenter import GreedyKCenter
from subband.banks.neighbours import nearest
from subband.banks.rows import Rows
from subband.banks.sizes import coreset_size
from subband.data import Preprocess
from subband.methods.patchcore.patches import averaged_features
from subband.methods.wedgenet.encoder import FrequencyEncoder
from subband.methods.wedgenet.guidance import GRAY, frequency_guidance, frequency_map, kernels
from subband.methods.wedgenet.network import WedgeNetwork, semantic_map
from subband.metrics import auroc
from subband.nn.backbones import IMAGENET_MEAN, IMAGENET_STD, Backbone, load_backbone_state
from subband.nn.smoothing import smooth_maps, smoothing_matrices

SIZE, SIGMA = 224, 4.0
WAVELETS = {"haar": "haar", "bior22": "bior2.2"}


def check_guidance(golden: GoldenCase) -> None:
    images = torch.from_numpy(golden.input(golden.stored("seed"), golden.stored("shape")))
    np.testing.assert_array_equal(np.float32(GRAY), golden.stored("gray_weight").ravel())
    checked = 0
    for short, wavelet in WAVELETS.items():
        if golden.has(f"{short}_kernel"):
            np.testing.assert_array_equal(kernels(wavelet)[:, None], golden.stored(f"{short}_kernel"))
        for form, scope in (("batch", "batch"), ("alone", "image")):
            if golden.has(f"{short}_{form}"):
                golden.near(frequency_map(images, wavelet, scope)[:, None], f"{short}_{form}", 2e-6)
                checked += 1
    assert checked, f"{golden.file} holds no guidance map"


BACKBONE_NAMES = {"stem.0.": "conv1.", "stem.1.": "bn1.", "stem.4.": "layer1."}


def backbone_name(name: str) -> str:
    for published, own in BACKBONE_NAMES.items():
        if name.startswith(published):
            return own + name.removeprefix(published)
    return name


@functools.cache
def filled_parts(rule, manifest: tuple[tuple[str, tuple[int, ...]], ...]) -> tuple[Backbone, FrequencyEncoder]:
    """Backbone and encoder with the weights of the filling rule; the fixed buffers of the transform keep their values."""
    state = {
        name: torch.from_numpy(rule.fill_value(name, shape))
        for name, shape in manifest
        if not name.startswith("input_dwt.")
    }
    encoder = FrequencyEncoder()
    encoder.load_state_dict({name: state.pop(name) for name in encoder.state_dict()})
    backbone = Backbone("resnet50", None)
    renamed = {backbone_name(name): tensor for name, tensor in state.items()}
    load_backbone_state(backbone.network, "resnet50", renamed, "manifest.json")
    return backbone, encoder


@torch.inference_mode()
def check_network(golden: GoldenCase) -> None:
    backbone, encoder = filled_parts(golden.rule, tuple(golden.manifest("manifest.json").items()))
    images = torch.from_numpy(golden.input(golden.stored("seed"), golden.stored("shape")))
    wavelet, semantic = str(golden.stored("wavelet")), bool(golden.stored("use_semantic"))

    def network(scope):
        return WedgeNetwork(backbone, encoder, wavelet, semantic, border="zero", scope=scope)

    features = network("batch").features(images)
    check_features(golden, features)
    if len(images) == 1:
        beside = torch.from_numpy(golden.input(int(golden.stored("seed")) + 1, images.shape))
        golden.near(sampled(golden, network("image").features(torch.cat([images, beside]))[:1]), "features", 1e-6)
    check_activations(golden, backbone, encoder, images, wavelet)


def sampled(golden: GoldenCase, features: torch.Tensor) -> torch.Tensor:
    rows, columns = golden.stored("positions").T
    return features[:, golden.stored("channels")][:, :, rows, columns]


def check_features(golden: GoldenCase, features: torch.Tensor) -> None:
    golden.near(sampled(golden, features), "features", 1e-6)
    golden.near(features.mean(dim=(0, 2, 3)), "channel_mean", 1e-6)
    blocks = {"norm_f2": features[:, :512], "norm_f3": features[:, 512:1536]}
    if golden.stored("use_semantic"):
        blocks["norm_sem"] = features[:, 1536:]
    for name, block in blocks.items():
        relatively_close(golden, block.norm(dim=1), name)


def check_activations(golden, backbone, encoder, images, wavelet) -> None:
    rows, columns = golden.stored("positions").T
    stem, layer2, layer3 = backbone.taps(images)
    height, width = layer2.shape[2:]
    guidance = frequency_guidance(images, wavelet, (height, width), "batch")
    answers = encoder.freq_encoder(guidance)
    shown = frequency_map(images, wavelet, "batch")
    activations = {
        "stem": stem[:, ::16, 2 * rows, 2 * columns],
        "f2": layer2[:, ::16, rows, columns],
        "f3": layer3[:, ::32, rows // 2, columns // 2],
        "guide_small": guidance,
        "freq_enc": answers[:, ::16, rows, columns],
        "proj": encoder.proj_to_f3(answers)[:, ::32, rows, columns],
        "freq_map_sub": shown[:, None, ::8, ::8],
        "freq_map_mean": shown.mean(dim=(1, 2)),
        "sem_map": semantic_map(layer2, "batch")[:, None],
    }
    for name, got in activations.items():
        relatively_close(golden, got, name)


def relatively_close(golden: GoldenCase, got: torch.Tensor, name: str) -> None:
    """The README's 1e-5 for what lies before the features, relative to the largest value."""
    wanted = torch.from_numpy(golden.stored(name))
    assert got.shape == wanted.shape, f"{name}: shape {tuple(got.shape)}, golden {tuple(wanted.shape)}"
    assert float((got - wanted).abs().max() / wanted.abs().max()) <= 1e-5, name


def check_kcenter(golden: GoldenCase) -> None:
    rows = Rows.of(golden.input(golden.stored("seed"), golden.stored("shape")))
    sizes = {float(ratio): coreset_size(len(rows), ratio, at_least_one=True) for ratio in golden.stored("ratios")}
    chosen = [size for size in sizes.values() if size < len(rows)]
    greedy = GreedyKCenter(rows, start=0)
    picks = greedy.extend(max(chosen, default=1))
    for ratio, size in sizes.items():
        # The published code keeps the rows' own order where it keeps them all.
        order = np.arange(len(rows)) if size >= len(rows) else picks[:size]
        np.testing.assert_array_equal(order, golden.stored(f"idx_{ratio}"), err_msg=f"ratio {ratio}")
    assert greedy.covering_radius == pytest.approx(float(golden.stored("radius")), rel=1e-6)
    assert greedy.radii[-1] == pytest.approx(greedy.covering_radius, rel=1e-12)


def check_scoring(golden: GoldenCase) -> None:
    features = torch.from_numpy(golden.input(golden.stored("features_seed"), golden.stored("features_shape")))
    bank = torch.from_numpy(golden.input(golden.stored("bank_seed"), golden.stored("bank_shape")))
    labels = golden.stored("labels")
    count, channels, height, width = features.shape
    found = nearest(features.permute(0, 2, 3, 1).reshape(-1, channels), bank)
    distances = found.distances.view(count, height, width)
    golden.near(distances, "nearest", 5e-6)

    maps = smooth_maps(distances, *smoothing_matrices((height, width), (SIZE, SIZE), SIGMA, "gaussian"))
    scores = maps.amax(dim=(1, 2)).numpy()
    golden.near(maps[0], "map_first", 5e-6)
    golden.near(maps[:, ::8, ::8], "maps_sub", 5e-6)
    golden.near(scores, "image_scores", 5e-6)
    assert round(100 * auroc(labels, scores), 2) == float(golden.stored("auroc_percent"))

    smoothed = smooth_maps(distances, *smoothing_matrices((height, width), (height, width), SIGMA, "gaussian"))
    golden.near(smoothed, "gap_maps", 5e-6)
    gap_scores = grid_rule(distances.numpy())
    golden.near(gap_scores, "gap_scores", 5e-6)
    golden.near(score_gap(labels, gap_scores).gap, "gap", 5e-6)


def check_perturbation(golden: GoldenCase) -> None:
    noise = golden.input(golden.stored("seed"), golden.stored("shape"))
    image = torch.from_numpy(np.clip(np.float32(0.5) + np.float32(0.25) * noise, 0, 1))
    coloured = [jitter_colour(image, float(factor)) for factor in golden.stored("factors")]
    golden.near(torch.stack(coloured), "colour", 1e-6)
    noisy = [
        add_noise(image, float(level), torch.randn(image.shape, generator=torch.Generator().manual_seed(42)))
        for level in golden.stored("levels")
    ]
    golden.near(torch.stack(noisy), "noise_reseeded_42", 1e-6)


@torch.inference_mode()
def check_patchcore_features(golden: GoldenCase) -> None:
    state = {
        name: torch.from_numpy(golden.rule.fill_value(name, shape))
        for name, shape in golden.manifest("patchcore_manifest.json").items()
        if not name.startswith(("layer4.", "fc."))
    }
    backbone = Backbone("wide_resnet50_2", None)
    load_backbone_state(backbone.network, "wide_resnet50_2", state, "patchcore_manifest.json")
    images = torch.from_numpy(golden.input(golden.stored("seed"), golden.stored("shape")))
    features = averaged_features(backbone.taps(images)[1:])
    golden.near(features[:, golden.stored("channels")], "features", 1e-4)
    golden.near(features.norm(dim=1), "norm", 1e-4)


def check_preprocess(golden: GoldenCase) -> None:
    """The README gives the picture: 300 x 340 random pixels from seed 109, and a mask with one rectangle."""
    picture = np.random.default_rng(109).integers(0, 256, (300, 340, 3), np.uint8)
    framing = Preprocess(framing="crop", resize=256, image_size=SIZE, resampling="bilinear")
    framed = framing.image(as_png(Image.fromarray(picture))).astype(np.float32) / 255
    image = ((framed - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_STD)).transpose(2, 0, 1)
    golden.near(image[:, ::7, ::7], "image_sub", 2e-3)
    golden.near(image.mean(axis=(1, 2), dtype=np.float64), "image_mean", 2e-3)
    golden.near(image.std(axis=(1, 2), dtype=np.float64, ddof=1), "image_std", 2e-3)

    mask = np.zeros((300, 340), np.uint8)
    mask[100:180, 60:200] = 255
    # The published code stretches the mask and crops the image (B6); the platform frames both alike.
    stretched = Preprocess(framing="stretch", image_size=SIZE).mask(Image.fromarray(mask))
    np.testing.assert_array_equal(stretched[::4, ::4], golden.stored("mask_sub").astype(bool))
    assert int(stretched.sum()) == int(golden.stored("mask_sum"))


def as_png(picture: Image.Image) -> Image.Image:
    written = io.BytesIO()
    picture.save(written, "PNG")
    return Image.open(written).convert("RGB")


CHECKS = {
    "guidance": check_guidance,
    "network": check_network,
    "kcenter": check_kcenter,
    "scoring": check_scoring,
    "perturbation": check_perturbation,
    "patchcore_features": check_patchcore_features,
    "preprocess": check_preprocess,
}
