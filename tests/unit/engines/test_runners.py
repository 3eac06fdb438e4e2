from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnxruntime.capi import onnxruntime_pybind11_state as state

from engines.bundle import Bundle, load_bundle, write_manifest, write_samples
from engines.errors import DeviceError, DeviceMemoryError, RunnerError
from engines.ladder import Proven
from engines.manifest import ModelFile
from engines.postprocessing import PostprocessingSpec
from engines.precision import Precision
from engines.processors import granted_cpus
from engines.proof import compare
from engines.runners import choice
from engines.runners.base import Notice, RunnerKind, RunnerSettings, run_in_batches, unheard
from engines.runners.choice import choose_runner, open_runner
from engines.runners.onnx_cuda import infer_filled
from engines.runners.onnx_runtime import OnnxRuntimeRunner, infer, open_session
from engines.runners.open_vino import OpenVinoRunner, has_bf16
from engines.runners.reserve import ReservedRunner
from tests.support.onnx_models import write_threshold_bundle, write_two_slice_model

LEVEL, GAIN = 1.5, 20.0

TOLERANCE = {"f32": 1e-4, "bf16": 0.5}
"""Largest error of a logit of about 30; bfloat16 has 8 bits of mantissa."""

FLOAT_KINDS = (RunnerKind.ONNXRUNTIME, RunnerKind.OPENVINO)

CPU_KINDS = (*FLOAT_KINDS, RunnerKind.OPENVINO_BF16) if has_bf16() else FLOAT_KINDS

needs_bf16 = pytest.mark.skipif(not has_bf16(), reason="this CPU has no bfloat16")


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_threshold_bundle(tmp_path / "wmh", level=LEVEL, gain=GAIN)


def slices(count: int = 5) -> np.ndarray:
    image = np.random.default_rng(3).uniform(0.0, 1.2, (count, 1, 64, 64)).astype(np.float32)
    image[1:3, 0, 20:30, 20:30] = 2.0
    return image


@pytest.mark.parametrize("kind", CPU_KINDS)
@pytest.mark.parametrize("batch", [1, 2, 5, 64])
def test_logits_are_those_of_the_model_for_any_batch(bundle: Bundle, kind: RunnerKind, batch: int) -> None:
    image = slices()
    settings = RunnerSettings(threads=1, batch=batch)
    with open_runner(bundle, kind, settings, samples=image) as runner:
        logits = runner.run(image)
        tolerance = TOLERANCE["bf16" if "bf16" in runner.name else "f32"]
    assert logits.shape == (5, 1, 64, 64)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, GAIN * (image - LEVEL), atol=tolerance)


@pytest.mark.parametrize("kind", FLOAT_KINDS)
def test_a_runner_says_which_runtime_and_precision_it_is(bundle: Bundle, kind: RunnerKind) -> None:
    with open_runner(bundle, kind) as runner:
        assert runner.name.startswith(kind.value)
        assert runner.name.endswith("CPU f32")


@pytest.mark.parametrize("kind", FLOAT_KINDS)
def test_threads_may_share_a_runner(bundle: Bundle, kind: RunnerKind) -> None:
    image = slices()
    with open_runner(bundle, kind, RunnerSettings(threads=1)) as runner, ThreadPoolExecutor(4) as pool:
        expected = runner.run(image)
        for logits in pool.map(lambda _: runner.run(image), range(16)):
            np.testing.assert_array_equal(logits, expected)


@pytest.mark.parametrize("kind", FLOAT_KINDS)
def test_a_model_is_freed_at_once_after_a_run(bundle: Bundle, kind: RunnerKind) -> None:
    image = slices()
    for threads in (1, 4) * 10:
        with open_runner(bundle, kind, RunnerSettings(threads=threads)) as runner:
            assert runner.run(image).shape == (5, 1, 64, 64)
        del runner


@pytest.mark.parametrize("kind", FLOAT_KINDS)
@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(np.zeros((0, 1, 64, 64), np.float32), id="no-slice"),
        pytest.param(np.zeros((2, 64, 64), np.float32), id="rank"),
        pytest.param(np.zeros((2, 1, 64, 64)), id="double"),
        pytest.param(np.zeros((2, 3, 64, 64), np.float32), id="channels"),
    ],
)
def test_slices_that_do_not_fit_are_refused(bundle: Bundle, kind: RunnerKind, wrong: np.ndarray) -> None:
    with open_runner(bundle, kind) as runner, pytest.raises(RunnerError):
        runner.run(wrong)


@pytest.mark.parametrize("kind", FLOAT_KINDS)
def test_a_closed_runner_does_not_run(bundle: Bundle, kind: RunnerKind) -> None:
    with open_runner(bundle, kind) as runner:
        pass
    with pytest.raises(RunnerError, match="closed"):
        runner.run(slices())


@pytest.mark.parametrize("runner", [OnnxRuntimeRunner, OpenVinoRunner])
def test_a_file_that_is_no_model_can_not_be_opened(
    tmp_path: Path, runner: type[OnnxRuntimeRunner] | type[OpenVinoRunner]
) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(RunnerError, match="cannot open") as caught:
        runner(tmp_path / "model.onnx", ModelFile(sha256="0" * 64), RunnerSettings())
    assert not re.search(r"\n|\.cpp:", str(caught.value)), "one line, without places in the runtime's source"


def test_the_thread_count_is_the_setting_or_what_the_process_may_use() -> None:
    assert RunnerSettings(threads=3).thread_count == 3
    assert 1 <= RunnerSettings().thread_count <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("said", "cpus"),
    [
        pytest.param("200000 100000\n", 2, id="two"),
        pytest.param("150000 100000\n", 2, id="one-and-a-half-need-two-threads"),
        pytest.param("50000 100000\n", 1, id="half"),
        pytest.param("max 100000\n", None, id="no-limit"),
        pytest.param("", None, id="nothing"),
        pytest.param("100000 0\n", None, id="no-period"),
        pytest.param(None, None, id="no-file"),
    ],
)
def test_a_container_s_limit_bounds_the_threads(tmp_path: Path, said: str | None, cpus: int | None) -> None:
    limit = tmp_path / "cpu.max"
    if said is not None:
        limit.write_text(said)
    assert granted_cpus(limit) == cpus


def test_without_samples_auto_stays_with_the_reference(bundle: Bundle) -> None:
    with open_runner(bundle) as runner:
        assert runner.name.startswith("onnxruntime")


@needs_bf16
def test_auto_takes_bfloat16_when_it_finds_the_same_lesions(bundle: Bundle) -> None:
    samples = write_samples(bundle.folder, slices())
    write_manifest(bundle.folder, bundle.manifest.model_copy(update={"samples": samples}))
    with open_runner(load_bundle(bundle.folder)) as runner:
        assert runner.name.endswith("bf16")


@needs_bf16
def test_auto_refuses_bfloat16_when_it_loses_lesions(tmp_path: Path) -> None:
    """2.001 and 1.999 are both 2 in bfloat16, whose neighbours around 2 are 1/128 apart."""
    bundle = write_threshold_bundle(tmp_path / "fine", level=2.0, gain=20.0)
    image = np.full((3, 1, 64, 64), 1.999, np.float32)
    image[:, :, 10:20, 10:20] = 2.001
    with open_runner(bundle, samples=image) as runner:
        assert runner.name.endswith("f32")
    with pytest.raises(RunnerError, match="openvino-bf16 cannot be used: Dice"):
        open_runner(bundle, RunnerKind.OPENVINO_BF16, samples=image)


@needs_bf16
def test_bfloat16_without_proof_is_refused(bundle: Bundle) -> None:
    with pytest.raises(RunnerError, match="no sample slices"):
        open_runner(bundle, RunnerKind.OPENVINO_BF16)


def logits_of(mask: np.ndarray) -> np.ndarray:
    return np.where(mask, 4.0, -4.0).astype(np.float32)[:, None]


def squares() -> np.ndarray:
    mask = np.zeros((4, 64, 64), bool)
    mask[1:3, 4:34, 4:34] = mask[1:3, 40:60, 40:60] = True
    return mask


@pytest.mark.parametrize(
    ("change", "agrees"),
    [
        pytest.param((), True, id="identical"),
        pytest.param(((1, 4, 4),), True, id="one-voxel-of-2600"),
        pytest.param(((slice(1, 3), slice(4, 34), 4),), False, id="a-border-lost"),
        pytest.param(((3, 62, 62),), False, id="one-lesion-more"),
    ],
)
def test_agreement_needs_the_same_voxels_volume_and_lesions(change: tuple, agrees: bool) -> None:
    mask, other = squares(), squares()
    for place in change:
        other[place] = ~other[place]
    assert compare(logits_of(mask), logits_of(other), PostprocessingSpec()).agrees is agrees


def test_the_numbers_of_an_agreement_are_those_of_the_masks() -> None:
    """2600 voxels against 2598: Dice 2 * 2598 / 5198, volume 2 / 2600."""
    mask, other = squares(), squares()
    other[1, 4, 4:6] = False
    agreement = compare(logits_of(mask), logits_of(other), PostprocessingSpec())
    assert agreement.dice == pytest.approx(5196 / 5198)
    assert agreement.volume_change == pytest.approx(2 / 2600)
    assert agreement.lesions == (2, 2)


@pytest.mark.parametrize(
    ("reference", "candidate", "reason"),
    [
        pytest.param(np.full((1, 1, 8, 8), -9.0), np.full((1, 1, 8, 8), -9.0), "no lesion", id="empty"),
        pytest.param(np.ones((1, 1, 8, 8)), np.full((1, 1, 8, 8), np.nan), "its logits.*finite", id="nan"),
        pytest.param(
            np.where(np.eye(8), np.nan, 1.0)[None, None].astype(np.float32),
            np.where(np.eye(8), -1.0, 1.0)[None, None].astype(np.float32),
            "the reference's logits.*finite",
            id="nan-of-the-reference",
        ),
        pytest.param(np.ones((1, 1, 8, 8)), np.ones((2, 1, 8, 8)), "shape", id="shape"),
    ],
)
def test_nothing_is_proven_by_empty_or_broken_logits(
    reference: np.ndarray, candidate: np.ndarray, reason: str
) -> None:
    agreement = compare(reference, candidate, PostprocessingSpec())
    assert not agreement.agrees
    assert re.search(reason, agreement.reason)


@pytest.mark.parametrize(
    ("peaks", "others", "agrees", "lesions"),
    [
        pytest.param((4.0, 1.0), (4.0, 1.1), True, (1, 1), id="what-is-dropped-may-differ"),
        pytest.param((4.0, 2.3), (4.0, 2.1), False, (2, 1), id="a-lesion-loses-its-peak"),
        pytest.param((4.0, 2.1), (4.0, 2.3), False, (1, 2), id="another-gains-one"),
        pytest.param((2.1, 2.1), (2.1, 2.1), False, (0, 0), id="none-has-a-peak"),
    ],
)
def test_lesions_are_compared_as_they_would_be_reported(
    peaks: tuple[float, float], others: tuple[float, float], agrees: bool, lesions: tuple[int, int]
) -> None:
    """A probability of 0.9 is a logit of 2.197; the outlines above 0.5 are the same throughout."""
    places = (slice(4, 34), slice(40, 60))
    reference, candidate = (np.full((1, 1, 64, 64), -9.0, np.float32) for _ in range(2))
    for logits, tops in ((reference, peaks), (candidate, others)):
        for place, top in zip(places, tops, strict=True):
            logits[0, 0, place, place] = 0.5
            logits[0, 0, place.start, place.start] = top
    agreement = compare(reference, candidate, PostprocessingSpec(threshold=0.5, min_peak=0.9))
    assert agreement.agrees is agrees
    assert agreement.lesions == lesions


def test_a_gpu_that_fails_when_it_is_warmed_up_is_in_the_report(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(OnnxRuntimeRunner):
        def run(self, slices: np.ndarray, notice: Notice = unheard) -> np.ndarray:
            raise DeviceError("unspecified launch failure")

    def open_failing(candidate: choice._Candidate) -> Proven:
        first = Failing(bundle.model_path, bundle.manifest.model, RunnerSettings(threads=1))
        return Proven(ReservedRunner(first, candidate.reference), Precision.FP16, "Dice 1.0000")

    monkeypatch.setitem(choice.OPENERS, RunnerKind.TENSORRT, open_failing)
    chosen = choose_runner(bundle, RunnerKind.TENSORRT)
    with chosen.runner:
        assert chosen.report.proof.startswith("Dice 1.0000; the GPU could not be used (unspecified launch")


def test_a_session_that_fails_on_a_gpu_leaves_the_work_to_the_cpu_and_slices_that_do_not_fit_do_not(
    tmp_path: Path,
) -> None:
    """The network takes two slices at a time, and onnxruntime finds out when it runs."""
    model = ModelFile(sha256="0" * 64)
    write_two_slice_model(tmp_path / "model.onnx")
    session = open_session(tmp_path / "model.onnx", threads=1)
    assert infer(session, model, slices(2), on_gpu=True).shape == (2, 1, 64, 64)
    with pytest.raises(DeviceError, match="onnxruntime failed on slices of shape"):
        infer(session, model, slices(3), on_gpu=True)
    for on_gpu, image in ((False, slices(3)), (True, np.zeros((2, 9, 64, 64), np.float32))):
        with pytest.raises(RunnerError) as caught:
            infer(session, model, image, on_gpu=on_gpu)
        assert not isinstance(caught.value, DeviceError)


def test_a_gpu_computes_batches_of_one_size_and_gives_back_what_was_asked(tmp_path: Path) -> None:
    """The network takes two slices at a time."""
    model = ModelFile(sha256="0" * 64)
    write_two_slice_model(tmp_path / "model.onnx")
    session = open_session(tmp_path / "model.onnx", threads=1)
    image = slices(3)
    found = run_in_batches(image, 2, lambda part: infer_filled(session, model, part, 2))
    assert found.shape == (3, 1, 64, 64)
    np.testing.assert_array_equal(found[:2], infer(session, model, image[:2]))
    np.testing.assert_array_equal(found[2:], infer(session, model, image[[2, 2]])[:1])


def test_a_session_does_not_turn_to_the_cpu_of_itself(bundle: Bundle) -> None:
    """onnxruntime does, when a provider fails in a run: for good, and under the GPU's name."""
    session = failing_session(bundle, state.EPFail("CUDA failure 719: unspecified launch failure"))
    with pytest.raises(DeviceError, match="unspecified launch failure"):
        infer(session, bundle.manifest.model, slices(), on_gpu=True)


@pytest.mark.parametrize(("on_gpu", "kind"), [(True, DeviceMemoryError), (False, RunnerError)])
@pytest.mark.parametrize(
    "said",
    [
        "Failed to allocate memory for requested buffer of size 4294967296",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
        "CUDNN failure 4003: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ; GPU=0",
    ],
    ids=["arena", "cublas", "cudnn"],
)
def test_only_a_gpu_s_memory_is_a_gpu_s_fault(
    bundle: Bundle, said: str, on_gpu: bool, kind: type[RunnerError]
) -> None:
    full = state.RuntimeException(said)
    with pytest.raises(RunnerError, match=said) as caught:
        infer(failing_session(bundle, full), bundle.manifest.model, slices(), on_gpu=on_gpu)
    assert type(caught.value) is kind


def failing_session(bundle: Bundle, error: Exception) -> onnxruntime.InferenceSession:
    """Open a session whose provider fails when it runs."""

    class FailingProvider:
        def __init__(self, whole: object) -> None:
            self._whole = whole

        def __getattr__(self, name: str) -> object:
            return getattr(self._whole, name)

        def run(self, *_: object) -> object:
            raise error

    session = open_session(bundle.model_path, threads=1)
    session._sess = FailingProvider(session._sess)
    return session
