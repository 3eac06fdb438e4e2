"""Exports a U-Net of MONAI as the ONNX file that ``csvd-node bundle import`` takes.

Run with ``python docs/examples/monai_network.py OUT.onnx [WEIGHTS.pt]``; needs torch and MONAI. Without
weights the network is as it was made, with an output that finds nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from monai.networks.nets import BasicUNet

CHANNELS = 3
"""A slice and its neighbours on both sides: ``neighbours: 1`` in the manifest."""

PIXEL_GRID = (224, 224)
"""Rows and columns, as in the manifest."""


def network(weights: Path | None) -> BasicUNet:
    """Return the network, ready to be exported: logits come out, without a sigmoid."""
    made = BasicUNet(spatial_dims=2, in_channels=CHANNELS, out_channels=1, features=(16, 16, 32, 64, 128, 16))
    if weights is not None:
        made.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    else:
        torch.nn.init.zeros_(made.final_conv.weight)
        torch.nn.init.constant_(made.final_conv.bias, -4.0)
    return made.eval()


def export(target: Path, weights: Path | None) -> None:
    """Write one ONNX file: dynamic batch, fixed pixel grid, weights inside."""
    torch.onnx.export(
        network(weights),
        (torch.zeros(2, CHANNELS, *PIXEL_GRID),),
        target,
        input_names=["slices"],
        output_names=["logits"],
        dynamic_shapes={"x": {0: torch.export.Dim("batch")}},
        opset_version=18,
        dynamo=True,
        external_data=False,
        verbose=False,
    )


if __name__ == "__main__":
    export(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
