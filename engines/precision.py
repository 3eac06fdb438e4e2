"""The precisions that a network is compiled in, and the order in which they are tried."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """How a network computes, fastest first.

    ``TF32`` is float32 whose products a GPU rounds to 10 bits of mantissa; ``FP32`` is the reference's.
    """

    INT8 = "int8"
    FP16 = "fp16"
    BF16 = "bf16"
    TF32 = "tf32"
    FP32 = "fp32"


def ladder(first: Precision) -> tuple[Precision, ...]:
    """Return the precisions to try, from the first allowed one down to float32."""
    rungs = tuple(Precision)
    return rungs[rungs.index(first) :]
