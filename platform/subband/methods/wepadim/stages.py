"""WE-PaDiM as a chain of stages.

What each stage reads is all that its result depends on::

    images    framing, resize, image_size, resampling
    features  backbone, weights, normalisation, blocks
    grams     wavelet, level, grid, antialias, placement   inner products per (layer, subband)     | dual form
    embedding wavelet, level, grid, antialias, placement   vectors per (layer, subband)            | primal form
    spectrum  subbands                                one factorisation, every regularisation
    distances cov_reg, jitter, distance
    maps      sigma, smoothing, image_size

A sweep over sigma repeats the last stage alone; a sweep over subsets of subbands adds up sums that are there already.

Shapes: N fitted and M scored images, P grid positions.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from subband.data import Split
from subband.methods.features import IMAGES, features_stage
from subband.methods.wepadim.embedding import layer_positions
from subband.methods.wepadim.gaussian import Spectrum, dual_spectrum, inner_products, spectrum
from subband.methods.wepadim.params import WEPaDiMParams, is_centred
from subband.nn.smoothing import smooth_maps, smoothing_matrices
from subband.nn.wavelets import SUBBANDS, transformed_size
from subband.stages import Chain, Chunk, ParamView, Stage, Upstream

GRAM_LIMIT_BYTES = 2e9
"""Above this the inner products of all (layer, subband) pairs cost more to keep than the vectors they come from."""


def _side(params: ParamView, layer_sides: list[int]) -> int:
    if params.grid != "smallest":
        return int(params.grid)
    return min(transformed_size(side, params.wavelet, params.level) for side in layer_sides)


@torch.inference_mode()
def _by_layer_and_subband(upstream: Upstream, params: ParamView) -> Iterator[tuple[str, torch.Tensor, int]]:
    """(name, vectors (P, N + M, C') with the fitted images first, N), one layer at a time."""
    features = upstream()
    layers = [name.removeprefix("fit.") for name in features.arrays if name.startswith("fit.")]
    side = _side(params, [features.arrays[f"fit.{layer}"].shape[2] for layer in layers])
    count = features.arrays[f"fit.{layers[0]}"].shape[0]
    for layer in layers:
        batches = (batch for role in ("fit", "query") for batch in features.batches(f"{role}.{layer}"))
        centred = is_centred(params.placement, params.wavelet)
        bands = layer_positions(batches, params.wavelet, params.level, side, params.antialias, centred)
        for band, vectors in bands.items():
            yield f"{layer}.{band}", vectors, count


def _grams(upstream: Upstream, params: ParamView, source: Split) -> Iterator[Chunk]:
    for name, vectors, count in _by_layer_and_subband(upstream, params):
        gram, energy = inner_products(vectors[:, :count], vectors[:, count:])
        yield {f"gram.{name}": gram.numpy(), f"energy.{name}": energy.numpy()}


def _embedding(upstream: Upstream, params: ParamView, source: Split) -> Iterator[Chunk]:
    for name, vectors, count in _by_layer_and_subband(upstream, params):
        yield {f"vectors.{name}": vectors.numpy(), "count": count}


def _chosen(names: list[str], prefix: str, subbands: str) -> list[str]:
    kept = subbands.split("+")
    return [name for name in names if name.startswith(prefix) and name.rsplit(".", 1)[1] in kept]


def _as_chunk(result: Spectrum) -> Chunk:
    return {
        "variances": result.variances_PR.numpy(),
        "energies": result.energies_PRM.numpy(),
        "residual": result.residual_PM.numpy(),
    }


@torch.inference_mode()
def _dual_spectrum(upstream: Upstream, params: ParamView, source: Split) -> Chunk:
    sums = upstream()
    gram, energy = (
        torch.from_numpy(sum(sums.array(name) for name in _chosen(list(sums.arrays), prefix, params.subbands)))
        for prefix in ("gram.", "energy.")
    )
    return _as_chunk(dual_spectrum(gram, energy))


@torch.inference_mode()
def _direct_spectrum(upstream: Upstream, params: ParamView, source: Split) -> Chunk:
    vectors = upstream()
    names = _chosen(list(vectors.arrays), "vectors.", params.subbands)
    joined = torch.from_numpy(np.concatenate([vectors.array(name) for name in names], axis=2))
    count = vectors.values["count"]
    return _as_chunk(spectrum(joined[:, :count], joined[:, count:]))


@torch.inference_mode()
def _distances(upstream: Upstream, params: ParamView, source: Split) -> Chunk:
    stored = upstream()
    parts = (torch.tensor(stored.array(name)) for name in ("variances", "energies", "residual"))
    squared = Spectrum(*parts).squared_distances(params.cov_reg + params.jitter)
    distances = squared if params.distance == "squared" else squared.sqrt()
    return {"distances": distances.float().numpy()}


@torch.inference_mode()
def _maps(upstream: Upstream, params: ParamView, source: Split) -> Chunk:
    distances = torch.from_numpy(upstream().array("distances"))
    side = round(distances.shape[1] ** 0.5)
    size = (params.image_size, params.image_size)
    rows, columns = smoothing_matrices((side, side), size, params.sigma, params.smoothing)
    maps = smooth_maps(distances.reshape(-1, side, side), rows, columns)
    return {"maps": maps.numpy(), "scores": maps.amax(dim=(1, 2)).numpy()}


_GRID_READS = ("wavelet", "level", "grid", "antialias", "placement")
FEATURES = features_stage("features")
GRAMS = Stage("grams", 1, _GRID_READS, _grams)
EMBEDDING = Stage("embedding", 1, _GRID_READS, _embedding)
DUAL_SPECTRUM = Stage("spectrum", 1, ("subbands",), _dual_spectrum)
DIRECT_SPECTRUM = Stage("spectrum", 1, ("subbands",), _direct_spectrum)
DISTANCES = Stage("distances", 1, ("cov_reg", "jitter", "distance"), _distances, keep=False)
MAPS = Stage("maps", 1, ("sigma", "smoothing", "image_size"), _maps, keep=False)

DUAL_CHAIN: Chain = (IMAGES, FEATURES, GRAMS, DUAL_SPECTRUM, DISTANCES, MAPS)
DIRECT_CHAIN: Chain = (IMAGES, FEATURES, EMBEDDING, DIRECT_SPECTRUM, DISTANCES, MAPS)


def choose_chain(params: WEPaDiMParams, fitted: int, scored: int) -> tuple[Chain, str]:
    """The cheaper of the two equal forms, and why.

    Inner products are shared by every subset of subbands, so they win while there are fewer images than channels and their sums
    fit; beyond that the vectors are kept instead, and each subset takes the primal or the dual form by its own size.
    """
    blocks = len(SUBBANDS) * len(params.network().taps)
    size = blocks * params.grid_side() ** 2 * fitted * (fitted + scored) * 8
    if fitted > params.channels():
        return DIRECT_CHAIN, f"primal: {fitted} training images are more than {params.channels()} channels"
    if size > GRAM_LIMIT_BYTES:
        return DIRECT_CHAIN, f"dual from vectors: the inner products of all subbands would take {size / 1e9:.1f} GB"
    return DUAL_CHAIN, f"dual: {fitted} training images are fewer than {params.channels()} channels"
