"""How the golden case of the WSF-ViT video model is checked; array names, seed and tolerances as in its README."""

import numpy as np
import torch
from golden_files import GoldenCase
from golden_wsfvit import filled_state, manifest, near_sampled

from subband.methods.wsfvit.video.network import VideoNetwork
from subband.methods.wsfvit.video.params import WSFViTVideoParams
from subband.methods.wsfvit.video.predictor import make_network


def traced(network: VideoNetwork, frames: torch.Tensor) -> dict[str, torch.Tensor]:
    """What flows through the network, by the golden names."""
    seen: dict[str, torch.Tensor] = {}
    watched = {"norm": network.norm, "enc": network.enc, "hid_block0": network.hid.enc[0].block, "hid": network.hid}

    def keep(name: str):
        return lambda module, inputs, out: seen.update({name: out[0] if isinstance(out, tuple) else out})

    hooks = [module.register_forward_hook(keep(name)) for name, module in watched.items()]
    try:
        seen["prediction"] = network(frames)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


@torch.inference_mode()
def check_video(golden: GoldenCase) -> None:
    described = manifest(golden, "video_mmnist")
    network = make_network(WSFViTVideoParams())
    own = network.state_dict()
    assert {name: list(tensor.shape) for name, tensor in own.items()} == {
        name: shape for name, shape, _ in described["state_dict"]
    }
    assert sum(parameter.numel() for parameter in network.parameters()) == described["num_parameters"] == 37_571_249
    network.load_state_dict(filled_state(golden.rule, described, own))
    noise = golden.input(int(golden.stored("seed")), golden.stored("input_shape"))
    found = traced(network.eval(), torch.from_numpy(1 / (1 + np.exp(-noise))))
    golden.near(found.pop("prediction")[0, :, 0], "prediction", 5e-5)
    for name, maps in found.items():
        # The translator works on the maps of all frames as channels; the golden ones are unfolded.
        near_sampled(golden, maps.reshape(tuple(golden.stored(f"{name}_shape"))), name)


CHECKS = {"video": check_video}
