"""Batch normalisation over all workers: two halves of a batch give what the whole one gives, or it is refused."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from subband.errors import ParamsError
from subband.nn.sync_batch_norm import SyncBatchNorm, synchronised

BATCH = (6, 3, 5, 4)


def made() -> tuple[nn.Sequential, Tensor, Tensor]:
    """A network, a batch far from zero, and weights that make its loss."""
    generator = torch.Generator().manual_seed(0)
    norm = nn.BatchNorm2d(3)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, 1.0, -2.0]))
        norm.bias.copy_(torch.tensor([0.1, 0.0, 3.0]))
    images = 50 + 2 * torch.randn(BATCH, generator=generator)
    return nn.Sequential(nn.Identity(), norm), images, torch.randn(BATCH, generator=generator)


def stepped(net: nn.Module, images: Tensor, factors: Tensor) -> dict[str, Tensor]:
    images = images.clone().requires_grad_()
    output = net(images)
    (output * factors).sum().backward()
    assert images.grad is not None
    gradients = {f"gradient of {name}": each.grad for name, each in net.named_parameters() if each.grad is not None}
    return {"output": output.detach(), "gradient": images.grad, **gradients, **net.state_dict()}


SHARES = {
    "equal": (slice(0, None, 2), slice(1, None, 2)),
    "unequal": (slice(0, 5), slice(5, None)),
    "empty": (slice(0, 6), slice(6, None)),
}


def _half(rank: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    for share, parts in SHARES.items():
        net, images, factors = made()
        names = list(net.state_dict())
        net = synchronised(net)
        assert isinstance(net[1], SyncBatchNorm)
        assert list(net.state_dict()) == names
        found = stepped(net, images[parts[rank]], factors[parts[rank]])
        found["evaluated"] = net.eval()(images[parts[rank]]).detach()
        torch.save(found, Path(folder) / f"{share}-{rank}.pt")
    dist.destroy_process_group()


def test_two_workers_normalise_by_the_whole_batch(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(_half, (port, str(tmp_path)), nprocs=2)
    for share, parts in SHARES.items():
        _check([torch.load(tmp_path / f"{share}-{rank}.pt", weights_only=True) for rank in (0, 1)], parts)


def _check(halves: list[dict[str, Tensor]], parts: tuple[slice, ...]) -> None:
    net, images, factors = made()
    whole = stepped(net, images, factors)
    whole["evaluated"] = net.eval()(images).detach()
    for name, expected in whole.items():
        if name in ("output", "gradient", "evaluated"):
            found = torch.empty(BATCH)
            for part, half in zip(parts, halves, strict=True):
                found[part] = half[name]
        elif name.startswith("gradient of"):  # of the parameters each worker has its share, which DDP brings together
            found = halves[0][name] + halves[1][name]
        else:
            assert torch.equal(halves[0][name], halves[1][name]), name
            found = halves[0][name]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


def test_normalisations_that_do_more_are_refused_by_name() -> None:
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Sequential(BatchNormAct2d(3)))
    with pytest.raises(ParamsError, match=r"1\.0 is a timm\.layers\.norm_act\.BatchNormAct2d.* train with one worker"):
        synchronised(net)
    assert type(net[0]) is nn.BatchNorm2d, "nothing is changed before the refusal"
