"""How each kind of WE-PaDiM golden case is checked; array names and tolerances as in its README.

Shapes: N fitted and M scored images, C channels, P = h * w positions.
"""

import json

import numpy as np
import pytest
import torch
from golden_files import GoldenCase
from PIL import Image

from subband.data import Preprocess
from subband.methods.wepadim.embedding import embed, layer_positions
from subband.methods.wepadim.gaussian import dual_spectrum, fit_gaussians, inner_products, primal_spectrum, spectrum
from subband.metrics import auroc
from subband.nn.backbones import IMAGENET_MEAN, IMAGENET_STD, Backbone, load_backbone_state
from subband.nn.smoothing import smooth_maps, smoothing_matrices, upsampling_matrix

JITTER = 1e-6


def check_embedding(golden: GoldenCase) -> None:
    layers = [torch.from_numpy(golden.input(layer["seed"], layer["shape"])) for layer in golden["layers"]]
    wavelet, level, subbands = golden["wavelet"], golden["level"], golden["subbands"]
    embedded = embed(layers, wavelet, level, subbands)
    golden.close(embedded, "", 1e-5)
    height, width = embedded.shape[2:]
    if height == width:
        check_production_order(golden, layers, embedded)


def check_production_order(golden: GoldenCase, layers: list[torch.Tensor], embedded: torch.Tensor) -> None:
    """The stages keep the channels in another order, which distances do not see: all inner products must be equal."""
    bands = [layer_positions([maps], golden["wavelet"], golden["level"], embedded.shape[2], False) for maps in layers]
    ours = torch.cat([band[name] for band in bands for name in golden["subbands"]], dim=2).double()
    wanted = positions(embedded).double()
    torch.testing.assert_close(ours @ ours.mT, wanted @ wanted.mT, rtol=1e-4, atol=1e-4)


def positions(maps_NCHW: torch.Tensor) -> torch.Tensor:
    """(P, N, C)."""
    return maps_NCHW.flatten(2).permute(2, 0, 1).contiguous()


def check_mahalanobis(golden: GoldenCase) -> None:
    offset, scale = np.float32(golden["offset"]), np.float32(golden["scale"])
    train, test = (
        torch.from_numpy(offset + scale * golden.input(golden[f"{role}_seed"], golden[f"{role}_shape"]))
        for role in ("train", "test")
    )
    fit, query = positions(train), positions(test)
    shape = (len(test), *test.shape[2:])
    forms = {
        "chosen form": spectrum(fit, query),
        "dual form": dual_spectrum(*inner_products(fit, query)),
        "primal form": primal_spectrum(fit, query),
    }
    for reg in golden["cov_regs"]:
        for name, found in forms.items():
            golden.close(found.squared_distances(reg + JITTER).reshape(shape), f"reg{reg:g}_map", 1e-6, name)
        gaussians, _ = fit_gaussians(fit, reg + JITTER)
        # The deployed Gaussians are float32: a small model, and 1e-5 of the largest distance is all that decisions need.
        got = gaussians.squared_distances(query, reg + JITTER).reshape(shape)
        wanted = torch.from_numpy(golden.stored(f"reg{reg:g}_map"))
        assert float((got - wanted).abs().max() / wanted.abs().max()) < 1e-5, f"reg {reg:g}: float32 Gaussians"
        golden.close(gaussians.mean_PD.T, "mean", 1e-6)
        check_covariance(golden, gaussians, reg)


def check_covariance(golden: GoldenCase, gaussians, reg: float) -> None:
    """The covariance with cov_reg and without the jitter, put together again from its factors."""
    channels = gaussians.mean_PD.shape[1]
    if golden.has(f"cov_pos0_reg{reg:g}"):
        basis, variances = gaussians.basis_PRD[0].double(), gaussians.variances_PR[0].double()
        covariance = basis.T @ (variances.unsqueeze(1) * basis) + reg * torch.eye(channels, dtype=torch.float64)
        golden.close(covariance, f"cov_pos0_reg{reg:g}", 1e-5)
    if golden.has(f"cov_trace_reg{reg:g}"):
        golden.close(gaussians.variances_PR.double().sum(dim=1) + reg * channels, f"cov_trace_reg{reg:g}", 1e-5)


def check_smoothing(golden: GoldenCase) -> None:
    if golden["kind"] == "abs_normal":
        maps = torch.from_numpy(np.abs(golden.input(golden["seed"], golden["shape"])))
    elif golden["kind"] == "ones":
        maps = torch.ones(golden["shape"])
    else:
        pytest.fail(f"no conformance test for smoothing inputs of kind {golden['kind']!r}")
    size = tuple(maps.shape[1:])
    for sigma in golden["sigmas"]:
        smoothed = smooth_maps(maps, *smoothing_matrices(size, size, sigma, "reference"))
        golden.close(smoothed, f"sigma{sigma:g}_maps", 2e-5)
        golden.close(smoothed.amax(dim=(1, 2)), f"sigma{sigma:g}_scores", 2e-5)


def check_scoring(golden: GoldenCase) -> None:
    train = torch.from_numpy(golden.input(golden["train_seed"], golden["train_shape"]))
    test = torch.from_numpy(golden.input(golden["test_seed"], golden["test_shape"]))
    labels = np.asarray(golden["labels"])
    height, width = test.shape[2:]
    test[labels == 1, :, : height // 2, : width // 2] += np.float32(golden["shift"])

    squared = spectrum(positions(train), positions(test)).squared_distances(golden["cov_reg"] + JITTER)
    distances = squared.float().reshape(-1, height, width)
    golden.close(distances, "dist_map", 1e-5)
    size = tuple(golden["image_size"])
    if golden.has("upsampled"):
        up = [torch.from_numpy(upsampling_matrix(*axis)).float() for axis in zip((height, width), size, strict=True)]
        golden.close(smooth_maps(distances, *up), "upsampled", 1e-5)
    maps = smooth_maps(distances, *smoothing_matrices((height, width), size, golden["sigma"], "reference"))
    scores = maps.amax(dim=(1, 2))
    golden.close(maps, "smoothed_maps", 1e-5)
    golden.close(scores, "image_scores", 1e-5)

    masks = golden.stored("masks").reshape(maps.shape)
    assert auroc(labels, scores.numpy()) == pytest.approx(golden["image_roc_auc"], abs=1e-5)
    assert auroc(masks, maps.numpy()) == pytest.approx(golden["pixel_roc_auc"], abs=1e-5)


@torch.inference_mode()
def check_backbone(golden: GoldenCase) -> None:
    name = golden["backbone"].replace("-", "_")
    manifest = json.loads((golden.folder / golden["manifest"]).read_text(encoding="utf-8"))
    state = {key: torch.from_numpy(golden.rule.fill_value(key, tuple(shape))) for key, shape in manifest}
    backbone = Backbone(name, None)
    load_backbone_state(backbone.network, name, state, golden["manifest"])
    taps = backbone.taps(torch.from_numpy(golden.input(golden["seed"], golden["shape"])))
    assert [tap.name for tap in backbone.spec.taps] == golden["layers"]
    assert [list(maps.shape) for maps in taps] == golden["layer_shapes"]
    for index, maps in enumerate(taps):
        golden.close(maps.mean(dim=(2, 3)), f"layer{index}_channel_means", 1e-4)
    golden.close(embed(taps, golden["wavelet"], golden["level"], golden["subbands"]), "embedding", 1e-4)


def check_preprocess(golden: GoldenCase) -> None:
    preprocess = Preprocess(framing="crop", resize=golden["resize"], image_size=golden["crop"])
    picture = preprocess.image(Image.fromarray(golden.stored("source"))).astype(np.float32) / 255
    normalised = (picture - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_STD)
    wanted = golden.stored("tensor")
    assert np.abs(normalised.transpose(2, 0, 1) - wanted).max() <= (golden.tolerance or 1e-5)
    mask = preprocess.mask(Image.fromarray(golden.stored("source_mask")))
    np.testing.assert_array_equal(mask[None], golden.stored("mask").astype(bool))


CHECKS = {
    "embedding": check_embedding,
    "mahalanobis": check_mahalanobis,
    "smoothing": check_smoothing,
    "scoring": check_scoring,
    "backbone": check_backbone,
    "preprocess": check_preprocess,
}
