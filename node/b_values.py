"""Diffusion weighting of a frame, from the Standard's attributes or the vendors' private ones.

A b-value alone does not make a diffusion image: GE writes 0 into FLAIR and Philips into T1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from node.header_layers import HeaderLayers, Layer
from node.headers import Diffusion, Directionality, Vector3
from node.private_elements import PrivateBlocks

GE_B_VALUE_BIAS = 1_000_000_000
"""Added by GE to the b-value in (0043,xx39) of several kinds of Series; never in (0018,9087)."""

MAX_B_VALUE = 100_000.0
"""Above this, s/mm2, a number is no b-value."""

MIN_GRADIENT_LENGTH = 1e-3
"""Gradient vectors shorter than this are zero: the isotropic (trace) images of several vendors."""

_SIEMENS, _GE, _GE_ACQUISITION = "SIEMENS MR HEADER", "GEMS_PARM_01", "GEMS_ACQU_01"
_PHILIPS, _PHILIPS_GRADIENT, _UIH = (
    "Philips Imaging DD 001",
    "Philips MR Imaging DD 001",
    "Image Private Header",
)

_SIEMENS_SEQUENCE_NAME = re.compile(r"(?:ep|re)_b(\d+)(?![\d_])(t|#\d+)?", re.IGNORECASE)
"""``*ep_b1000t`` is a trace, ``*ep_b1000#3`` the third direction, ``*ep_b0`` unweighted."""

_GE_IMAGE_KINDS = {14: Directionality.NONE, 16: Directionality.DIRECTIONAL, 19: Directionality.ISOTROPIC}
"""(0043,xx30) of diffusion images: 14 T2, 16 one direction of a tensor, 19 trace."""

_CANON_COMMENT = re.compile(r"^\s*b=(\d+)\(([-\d.]+),([-\d.]+),([-\d.]+)\)")
"""``b=1500(0.445,0.000,0.895)``: how Canon writes b-value and direction into Image Comments (0020,4000)."""

_STANDARD = {
    "NONE": Directionality.NONE,
    "ISOTROPIC": Directionality.ISOTROPIC,
    "DIRECTIONAL": Directionality.DIRECTIONAL,
    "BMATRIX": Directionality.DIRECTIONAL,
}


class _Stated(NamedTuple):
    """What one source says."""

    source: str
    b_value: float | None = None
    directionality: Directionality | None = None
    gradient: Vector3 | None = None


def read_diffusion(layers: HeaderLayers, sequence_name: str) -> Diffusion:
    """Read b-value and directionality of a frame.

    The first source that states a b-value above 0 wins, then the first that states one at all: the Standard's
    attribute is 0 in some files whose private element holds the true value. A zero gradient at b > 0 means
    an isotropic image, not a direction and not an ADC map.

    Args:
        layers: data sets that describe the frame.
        sequence_name: Sequence Name, which Siemens writes the b-value into.
    """
    stated = [
        *_from_standard(layers),
        *_from_private(layers),
        *_from_sequence_name(sequence_name),
        *_from_comments(layers),
    ]
    valued = [one for one in stated if one.b_value is not None]
    best = next((one for one in valued if one.b_value), valued[0] if valued else None)
    gradient = next((one.gradient for one in stated if one.gradient is not None), None)
    directionality = next((one.directionality for one in stated if one.directionality is not None), None)
    if best is None:
        return Diffusion(directionality=directionality)
    settled = _settle(best.b_value, directionality, gradient)
    direction = _direction(gradient) if settled is Directionality.DIRECTIONAL else None
    return Diffusion(best.b_value, settled, direction, best.source)


def _settle(
    b_value: float | None, directionality: Directionality | None, gradient: Vector3 | None
) -> Directionality | None:
    """Bring the statements together; a frame at b = 0 has no direction, whatever was copied into it."""
    if not b_value:
        return Directionality.NONE
    if directionality in (Directionality.ISOTROPIC, Directionality.DIRECTIONAL):
        return directionality
    if gradient is None:
        return None
    return Directionality.DIRECTIONAL if _direction(gradient) else Directionality.ISOTROPIC


def _direction(gradient: Vector3 | None) -> Vector3 | None:
    return gradient if gradient is not None and math.hypot(*gradient) > MIN_GRADIENT_LENGTH else None


def _from_standard(layers: HeaderLayers) -> Iterator[_Stated]:
    """Yield what the most specific layer says that says anything."""
    for layer in layers.standard:
        b_value = _b_value(layer.numbers("DiffusionBValue"))
        directionality = _STANDARD.get(str(layer.value("DiffusionDirectionality")))
        gradient = _vector(layer.numbers("DiffusionGradientOrientation"))
        for direction in layer.items("DiffusionGradientDirectionSequence")[:1]:
            gradient = _vector(Layer.of(direction).numbers("DiffusionGradientOrientation"))
        if b_value is not None or directionality or gradient:
            yield _Stated("DiffusionBValue (0018,9087)", b_value, directionality, gradient)
            return


def _from_private(layers: HeaderLayers) -> list[_Stated]:
    """Return what the most specific layer says that says anything."""
    for layer in layers.private:
        readers = (_from_siemens, _from_ge, _from_philips, _from_uih)
        stated = [one for read in readers for one in read(layer.private)]
        if stated:
            return stated
    return []


def _from_siemens(blocks: PrivateBlocks) -> Iterator[_Stated]:
    b_value = _b_value(blocks.numbers(0x0019, 0x0C, _SIEMENS, "IS"))
    if b_value is not None:
        directionality = next(iter(blocks.texts(0x0019, 0x0D, _SIEMENS)), "")
        gradient = _vector(blocks.numbers(0x0019, 0x0E, _SIEMENS, "FD"))
        yield _Stated("Siemens (0019,xx0C)", b_value, _STANDARD.get(directionality), gradient)


def _from_ge(blocks: PrivateBlocks) -> Iterator[_Stated]:
    values = blocks.numbers(0x0043, 0x39, _GE, "IS")
    b_value = _b_value(tuple(value % GE_B_VALUE_BIAS for value in values[:1]))
    if b_value is not None:
        kind = blocks.numbers(0x0043, 0x30, _GE, "SS")
        components = [blocks.numbers(0x0019, offset, _GE_ACQUISITION, "DS") for offset in (0xBB, 0xBC, 0xBD)]
        gradient = _vector(tuple(part[0] for part in components if part))
        yield _Stated(
            "GE (0043,xx39)", b_value, _GE_IMAGE_KINDS.get(int(kind[0])) if kind else None, gradient
        )


def _from_philips(blocks: PrivateBlocks) -> Iterator[_Stated]:
    b_value = _b_value(blocks.numbers(0x2001, 0x03, _PHILIPS, "FL"))
    if b_value is not None:
        letter = next(iter(blocks.texts(0x2001, 0x04, _PHILIPS)), "")
        directionality = Directionality.ISOTROPIC if letter == "I" else None
        # P, M, S are the axes and O an oblique direction; anything else says nothing.
        directionality = Directionality.DIRECTIONAL if letter in set("PMSO") else directionality
        components = [
            blocks.numbers(0x2005, offset, _PHILIPS_GRADIENT, "FL") for offset in (0xB0, 0xB1, 0xB2)
        ]
        gradient = _vector(tuple(part[0] for part in components if part))
        yield _Stated("Philips (2001,xx03)", b_value, directionality, gradient)


def _from_uih(blocks: PrivateBlocks) -> Iterator[_Stated]:
    b_value = _b_value(blocks.numbers(0x0065, 0x09, _UIH, "FD"))
    if b_value is not None:
        yield _Stated("UIH (0065,xx09)", b_value, gradient=_vector(blocks.numbers(0x0065, 0x37, _UIH, "FD")))


def _from_sequence_name(sequence_name: str) -> Iterator[_Stated]:
    found = _SIEMENS_SEQUENCE_NAME.search(sequence_name)
    if found:
        suffix = found.group(2) or ""
        directionality = Directionality.ISOTROPIC if suffix == "t" else None
        directionality = Directionality.DIRECTIONAL if suffix.startswith("#") else directionality
        yield _Stated("SequenceName", float(found.group(1)), directionality)


def _from_comments(layers: HeaderLayers) -> Iterator[_Stated]:
    found = _CANON_COMMENT.match(layers.text("ImageComments"))
    if found:
        vector = _vector(_as_numbers(found.groups()[1:]))
        yield _Stated("ImageComments (0020,4000)", float(found.group(1)), gradient=vector)


def _as_numbers(texts: Sequence[str]) -> tuple[float, ...]:
    try:
        return tuple(map(float, texts))
    except ValueError:
        return ()


def _b_value(numbers: tuple[float, ...]) -> float | None:
    return numbers[0] if numbers and 0 <= numbers[0] <= MAX_B_VALUE else None


def _vector(numbers: tuple[float, ...]) -> Vector3 | None:
    return (numbers[0], numbers[1], numbers[2]) if len(numbers) == 3 else None
