"""Batch normalisation over the batches of all workers together, on any device.

torch's own `SyncBatchNorm` refuses tensors on a CPU. With it, a batch that is divided among workers gives the statistics, and the
gradients, of the undivided one.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn import functional as across
from torch.nn.modules.batchnorm import _BatchNorm

from subband.errors import ParamsError

_PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class SyncBatchNorm(_BatchNorm):
    """`nn.BatchNorm1d`, ``2d`` or ``3d`` whose batch is that of all workers.

    Workers may hold different numbers of values of a channel. Where no process group is initialised, it is ordinary normalisation.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected a batch of at least 2 dimensions, not {input.dim()}")

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, C, ...)."""
        if not (self.training and dist.is_initialized() and dist.get_world_size() > 1):
            return super().forward(input)
        axes = [axis for axis in range(input.dim()) if axis != 1]
        shape = [1, -1, *[1] * (input.dim() - 2)]
        # In two passes: E[x^2] - E[x]^2 would cancel in float32.
        values = input.float()
        total = values.new_tensor(values.numel() // values.shape[1])
        dist.all_reduce(total)
        mean_C = _sum(values.sum(axes) / total)
        centred = values - mean_C.view(shape)
        variance_C = _sum(centred.square().sum(axes) / total)
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            self._track(mean_C.detach(), variance_C.detach(), int(total))
        normal = centred * torch.rsqrt(variance_C + self.eps).view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(input.dtype)

    def _track(self, mean_C: Tensor, variance_C: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean_C, share)
        self.running_var.lerp_(variance_C * (count / max(count - 1, 1)), share)


def _sum(values: Tensor) -> Tensor:
    """Over all workers, with a gradient."""
    total: Tensor = across.all_reduce(values)  # type: ignore[no-untyped-call]
    return total


def synchronised(model: nn.Module) -> nn.Module:
    """The model with every batch normalisation made one over all workers; its parameters and buffers are the same objects.

    Raises:
        ParamsError: a batch normalisation is neither of torch's three nor of this file; what else it computes would be lost.
    """
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and type(module) not in (*_PLAIN, SyncBatchNorm):
            kind = f"{type(module).__module__}.{type(module).__qualname__}"
            raise ParamsError(
                f"{name or 'the network'} is a {kind}, which cannot be made a normalisation over all workers without changing "
                "what it computes: train with one worker, or build the network with nn.BatchNorm2d"
            )
    if any(parameter.is_cuda for parameter in model.parameters()):
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    return _replaced(model)


def _replaced(model: nn.Module) -> nn.Module:
    if isinstance(model, _PLAIN):
        return _like(model)
    for name, child in model.named_children():
        replaced = _replaced(child)
        if replaced is not child:
            setattr(model, name, replaced)
    return model


def _like(norm: _BatchNorm) -> SyncBatchNorm:
    copy = SyncBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    copy._parameters.update(norm._parameters)
    copy._buffers.update(norm._buffers)
    copy.train(norm.training)
    return copy
