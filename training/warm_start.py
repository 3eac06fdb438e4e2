"""Weights of a bundle as the start of a training: the shipped networks can be trained on with other cases.

An exported network has its batch normalisations folded into its convolutions. A training needs them back:
each is given the statistics of what its convolution makes of real slices, and what undoes them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import Tensor, nn

from engines.bundle import MODEL_NAME
from training.errors import WarmStartError
from training.networks import UNet

FOLDED_BIAS = ".weight_bias"
"""Ending of the name that the exporter gives to the shift of a folded normalisation."""


def load_bundle_weights(network: UNet, folder: Path, batch: Tensor) -> None:
    """Fill a network with the weights of a bundle so that it makes of a batch what the bundle would.

    Levels that predict in training only are not in a bundle and stay as they are.

    Args:
        network: of the bundle's architecture.
        folder: of the bundle.
        batch: (batch, channels, rows, columns) prepared slices for the statistics.

    Raises: WarmStartError: if the bundle cannot be read or is of another architecture.
    """
    path = folder / MODEL_NAME
    try:
        stored = onnx.load(str(path)).graph.initializer
        tensors = {held.name: torch.from_numpy(numpy_helper.to_array(held).copy()) for held in stored}
        own = network.state_dict()
        weights = {name: value for name, value in tensors.items() if name in own}
        network.load_state_dict(own | weights)
    except (OSError, ValueError, DecodeError) as error:
        raise WarmStartError(path, f"cannot be read: {error}") from error
    except RuntimeError as error:
        raise WarmStartError(path, "is of another network than the recipe's") from error
    convolutions = [name for name, module in network.named_modules() if _is_normalised(name, module)]
    missing = [name for name in convolutions if name + FOLDED_BIAS not in tensors]
    if missing or not convolutions:
        raise WarmStartError(path, f"has no folded normalisation for {', '.join(missing) or 'any layer'}")
    _unfold(network, {name: tensors[name + FOLDED_BIAS] for name in convolutions}, batch)


def _is_normalised(name: str, module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.bias is None and not name.startswith("auxiliary")


def _unfold(network: UNet, shifts: dict[str, Tensor], batch: Tensor) -> None:
    """Run a batch through the network, setting each normalisation before it is used."""
    modules = dict(network.named_modules())
    hooks = []
    for name, shift in shifts.items():
        parent, _, number = name.rpartition(".")
        normalisation = modules[f"{parent}.{int(number) + 1}"]
        if isinstance(normalisation, nn.BatchNorm2d):
            hooks.append(modules[name].register_forward_hook(_setter(normalisation, shift)))
    network.eval()
    with torch.no_grad():
        network(batch)
    for hook in hooks:
        hook.remove()


def _setter(normalisation: nn.BatchNorm2d, shift: Tensor) -> Callable[[nn.Module, object, Tensor], None]:
    def set_statistics(_: nn.Module, __: object, output: Tensor) -> None:
        mean, spread = output.mean(dim=(0, 2, 3)), output.var(dim=(0, 2, 3))
        for held, value in (
            (normalisation.running_mean, mean),
            (normalisation.running_var, spread),
            (normalisation.weight, (spread + normalisation.eps).sqrt()),
            (normalisation.bias, mean + shift.to(mean.device)),
        ):
            if held is not None:
                held.copy_(value)

    return set_statistics
