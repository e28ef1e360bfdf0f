"""Four textures that fill the image: woven cloth, leather, planed wood and terrazzo tile.

Each function draws one good piece from a generator and returns a `Scene`. What a category has in common (its colours,
its pitch) is fixed here; what differs from piece to piece (position, small warps, tint, light) comes from the
generator.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from subband.data.embedded.drawing.canvas import (
    Field,
    Generator,
    blend,
    cells,
    grid,
    relief,
    rgb,
    smooth_noise,
    step,
    white_noise,
)
from subband.data.embedded.drawing.scene import Scene

WEAVE_THREADS = 22


def weave(rng: Generator, size: int) -> Scene:
    """Linen in plain weave: light warp threads over and under darker weft threads, slightly bowed, of uneven shade."""
    x, y = grid(size)
    u = x * WEAVE_THREADS + rng.random() + 0.16 * smooth_noise(rng, size, 0.25, 0.13)
    v = y * WEAVE_THREADS + rng.random() + 0.16 * smooth_noise(rng, size, 0.13, 0.25)
    column, row = np.floor(u), np.floor(v)
    across_u, across_v = 2 * (u - column) - 1, 2 * (v - row) - 1
    warp_on_top = (column + row) % 2 == 0

    slubs = rng.normal(1.0, 0.035, (2, WEAVE_THREADS + 8))  # every thread has its own shade
    warp_shade = slubs[0][np.clip(column + 3, 0, WEAVE_THREADS + 7).astype(np.int64)]
    weft_shade = slubs[1][np.clip(row + 3, 0, WEAVE_THREADS + 7).astype(np.int64)]
    warp = warp_shade * _thread(across_u, across_v) * (1 + 0.05 * smooth_noise(rng, size, 0.0015, 0.02))
    weft = weft_shade * _thread(across_v, across_u) * (1 + 0.05 * smooth_noise(rng, size, 0.02, 0.0015))

    light = 1 + 0.025 * smooth_noise(rng, size, 0.3) + rng.normal(0, 0.015)
    warp_colour, weft_colour = rgb(0.86, 0.80, 0.69), rgb(0.74, 0.66, 0.53)
    shade = np.where(warp_on_top, warp, weft) * light
    colours = np.where(warp_on_top, warp_colour, weft_colour) * shade

    # Without its warp threads the cloth shows the weft lying loose over a dark gap.
    loose = np.clip(1 - np.abs(across_v) ** 3, 0, 1) * 0.62 * weft_shade * light
    under = weft_colour * loose + rgb(0.07, 0.06, 0.05)
    thread = np.floor(u)
    return Scene(colours, under=under, thread=thread, scratch=(0.93, 0.90, 0.84), stain=(0.42, 0.27, 0.13))


def _thread(across: Field, along: Field) -> Field:
    """Brightness of a thread: round across its width, rising over the thread below and dipping under the next."""
    return np.asarray((0.42 + 0.58 * np.sqrt(np.clip(1 - 0.92 * across**2, 0, 1))) * (0.80 + 0.20 * (1 - along**2)))


def leather(rng: Generator, size: int) -> Scene:
    """Brown pebbled leather: a grain of small cells with dark creases, lit from one side."""
    first, second, _ = cells(rng, size, 26)
    crease = second - first
    grain = np.sqrt(np.clip(crease, 0, 0.55)) + 0.10 * smooth_noise(rng, size, 0.004)
    light = relief(grain * (size / 256), rng.normal(0.9, 0.06)) + 0.012 * white_noise(rng, size)
    shade = 0.78 + 0.26 * np.clip(crease, 0, 0.6) - 0.55 * light + 0.02 * smooth_noise(rng, size, 0.08)
    shade = shade * (1 + rng.normal(0, 0.02)) + 0.015 * smooth_noise(rng, size, 0.3)
    base = rgb(0.47, 0.28, 0.17) * (1 + rng.normal(0, 0.012, (3, 1, 1)))
    colours = base * shade

    fibres = 0.72 + 0.09 * smooth_noise(rng, size, 0.004, 0.010) + 0.06 * white_noise(rng, size)
    under = rgb(0.78, 0.62, 0.45) * fibres  # suede, where the grain is torn off
    return Scene(colours, under=under, scratch=(0.74, 0.55, 0.38), stain=(0.13, 0.07, 0.05))


def wood(rng: Generator, size: int) -> Scene:
    """Planed oak: growth rings cut lengthwise, fine fibres and short dark pores along the grain."""
    x, y = grid(size)
    centre = rng.uniform(0.25, 0.75)
    bow = 0.035 * smooth_noise(rng, size, 0.10, 0.45)
    across = x - centre + bow
    rings = 13 * (np.sqrt(across**2 + (0.10 + 0.10 * (y - rng.uniform(0.2, 0.8))) ** 2)) + rng.random()
    phase = rings - np.floor(rings)
    late_wood = phase**2.2 * step(0.97 - phase, 0.03)
    fibres = smooth_noise(rng, size, 0.0012, 0.06)
    pores = step(smooth_noise(rng, size, 0.0016, 0.016) - 2.0, 0.5)
    shade = 1.02 - 0.24 * late_wood + 0.035 * fibres - 0.22 * pores + 0.02 * smooth_noise(rng, size, 0.25)
    shade = shade + rng.normal(0, 0.018)
    base = rgb(0.76, 0.58, 0.38) * (1 + rng.normal(0, 0.01, (3, 1, 1)))
    tint = rgb(0.0, -0.035, -0.06) * late_wood
    colours = base * shade + tint

    torn = 0.86 + 0.16 * smooth_noise(rng, size, 0.003, 0.05) + 0.05 * white_noise(rng, size)
    under = rgb(0.90, 0.77, 0.57) * np.clip(torn, 0.4, 1.1)  # fresh wood, where a splinter is torn out
    return Scene(colours, under=under, scratch=(0.92, 0.82, 0.66), stain=(0.23, 0.15, 0.12), tear=3.5)


_CHIPS: NDArray[np.float64] = np.array(
    [[0.86, 0.85, 0.83], [0.56, 0.57, 0.59], [0.72, 0.63, 0.57], [0.65, 0.68, 0.68], [0.79, 0.76, 0.71]]
)


def tile(rng: Generator, size: int) -> Scene:
    """Polished terrazzo: small stone chips of five muted colours in light cement."""
    first, second, number = cells(rng, size, 30)
    edge = second - first + 0.05 * smooth_noise(rng, size, 0.005)
    points = int(number.max()) + 1
    reach = rng.uniform(0.03, 0.42, points)[number]  # how far each chip stays from its neighbours
    chip = step(edge - reach, 0.05)
    kinds = rng.choice(len(_CHIPS), points, p=[0.30, 0.16, 0.16, 0.20, 0.18])
    chips = (_CHIPS[kinds] * rng.normal(1, 0.05, (points, 1))).T[:, number]
    cement = rgb(0.79, 0.775, 0.745) * (1 + 0.018 * white_noise(rng, size))
    veins = 1 + 0.04 * smooth_noise(rng, size, 0.006) + 0.012 * white_noise(rng, size)
    light = 1 + 0.02 * smooth_noise(rng, size, 0.35) + rng.normal(0, 0.012)
    colours = blend(cement, chips * veins, chip) * light

    rough = 0.72 + 0.07 * smooth_noise(rng, size, 0.006) + 0.06 * white_noise(rng, size)
    under = rgb(0.58, 0.53, 0.47) * rough  # broken cement, where a piece is chipped off
    return Scene(colours, under=under, scratch=(0.99, 0.99, 0.99), stain=(0.34, 0.23, 0.11))
