"""The container image for GPUs, on a machine that has none."""

from __future__ import annotations

import json

import pytest

from engines.segments import Segment
from tests.support.images import GPU, build, in_image, podman

pytestmark = [pytest.mark.image, pytest.mark.timeout(3000)]


@pytest.fixture(scope="module", autouse=True)
def _gpu_image() -> None:
    build("gpu")


def test_the_gpu_image_compiles_with_tensorrt_and_says_that_there_is_no_driver() -> None:
    """Without a GPU it serves as the other one does, and says why."""
    program = "import tensorrt_rtx; from cuda.bindings import runtime; print(tensorrt_rtx.__version__)"
    loaded = in_image("-c", program, entrypoint="python", image=GPU)
    assert loaded.returncode == 0, loaded.stderr
    done = in_image("engines", image=GPU)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "there is no NVIDIA driver" in said
    assert "openvino" in said
    program = (
        "import os, subprocess\n"
        "os.environ['CSVD_ENGINES__CACHE'] = '/tmp/engines'\n"
        "subprocess.run(['csvd-node', 'engines', 'build', '--capability', '89'], check=True)"
    )
    built = in_image("-c", program, entrypoint="python", image=GPU)
    assert built.returncode == 0, built.stderr
    assert built.stdout.count(".plan") == len(Segment)
    (told,) = json.loads(podman("inspect", "--type=image", GPU).stdout)
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in told["Config"]["Env"]
