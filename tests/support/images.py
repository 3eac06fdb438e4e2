"""Container images, built from the Dockerfile and run as a hospital would: closed but for their data."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.support.chart import REPOSITORY
from tests.support.peers import LOOPBACK
from tests.support.running_node import RunningNode

CPU, GPU, PROBE = (f"localhost/csvd-node:{tag}" for tag in ("cpu", "gpu", "probe"))

KEPT = Path("/var/lib/containers")
"""Where buildah and podman keep images for root."""

ROOM_GB = 10
"""What a build must find free on its disk, GB."""

BUILDERS = ("buildah", "debootstrap", "podman", "runc")

DRIVER = os.environ.get("CSVD_STORAGE_DRIVER", "overlay")
"""How layers are stored; vfs needs no overlay file system, but copies each layer whole."""

PODMAN = ("podman", "--runtime=/usr/sbin/runc", f"--storage-driver={DRIVER}", "--cgroup-manager=cgroupfs")

HARDENED = (
    "run",
    "--rm",
    "--no-healthcheck",
    "--ulimit=nofile=1024:1024",
    "--ulimit=nproc=1024:1024",
    "--read-only",
    "--tmpfs=/tmp",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
)

ALONE = "--network=none"


def podman(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PODMAN, *arguments], capture_output=True, text=True, timeout=1200, check=False)


def in_image(
    *command: str, entrypoint: str = "csvd-node", image: str = CPU
) -> subprocess.CompletedProcess[str]:
    """Run a command in a fresh container: read-only, without capabilities, as the image's user."""
    study = f"--volume={REPOSITORY / 'tests' / 'data' / 'demo_study'}:/study:ro"
    return podman(*HARDENED, ALONE, study, f"--entrypoint={entrypoint}", image, *command)


def program_of(node: RunningNode) -> list[str]:
    """Return what runs a node in the CPU image, as closed as that, on this machine's loopback network.

    What the image says of itself wins over the node's configuration, hence the variables.
    """
    data, own = node.root, node.folder
    data.mkdir(parents=True)
    data.chmod(0o777)
    here = [f"--env=CSVD_{part}__HOST={LOOPBACK}" for part in ("RECEIVER", "WEB")]
    volumes = [f"--volume={data}:/var/lib/csvd-node", f"--volume={own}:{own}:ro"]
    return [*PODMAN, *HARDENED, "--network=host", *here, *volumes, CPU]


def build(target: str) -> None:
    """Build a target; skip where this machine cannot, which is tried and not guessed."""
    reason = why_not()
    if reason:
        pytest.skip(f"no image can be built and run here: {reason}")
    subprocess.run([REPOSITORY / "docker" / "build_local.sh", target], check=True, timeout=2700)


def why_not() -> str:
    """Try in small what building and running an image does; say what does not work, or nothing."""
    missing = [name for name in BUILDERS if not shutil.which(name)]
    if missing:
        return f"not installed: {', '.join(missing)} (make image-tools)"
    if os.geteuid():
        return "images are built by root"
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _no_overlay() or _no_device(Path(folder)) or _no_room() or _no_image(Path(folder))
    except (OSError, subprocess.SubprocessError) as exc:
        return str(exc)


def _no_overlay() -> str:
    """Mount layers over each other where images are kept, in a mount namespace of its own."""
    KEPT.mkdir(parents=True, exist_ok=True)
    if DRIVER != "overlay":
        return ""
    with tempfile.TemporaryDirectory(dir=KEPT) as place:
        for name in ("lower", "upper", "work", "merged"):
            (Path(place) / name).mkdir()
        options = f"lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work"
        return _complaint(
            "unshare", "--mount", "mount", "-toverlay", "overlay", f"-o{options}", f"{place}/merged"
        )


def _no_device(folder: Path) -> str:
    """Make a device, as debootstrap does."""
    return _complaint("mknod", f"{folder}/null", "c", "1", "3")


def _no_room() -> str:
    free_gb = shutil.disk_usage(KEPT).free / 1e9
    return "" if free_gb >= ROOM_GB else f"{free_gb:.1f} GB are free in {KEPT}, of {ROOM_GB} needed"


def _no_image(folder: Path) -> str:
    """Build an image of one program and what it is linked against, run that in it, and remove it."""
    linked = subprocess.run(["ldd", "/bin/true"], capture_output=True, text=True, check=True).stdout.split()
    for name in ("/bin/true", *(word for word in linked if word.startswith("/"))):
        (folder / name[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, folder / name[1:])
    (folder / "Dockerfile").write_text('FROM scratch\nCOPY . /\nRUN ["/bin/true"]\n')
    build_it = ("buildah", f"--storage-driver={DRIVER}", "bud", "--isolation=chroot", "--format=docker")
    try:
        return _complaint(*build_it, "--layers=false", f"--tag={PROBE}", str(folder)) or _complaint(
            *PODMAN, *HARDENED, ALONE, PROBE, "/bin/true"
        )
    finally:
        podman("rmi", "--force", PROBE)


def _complaint(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return "" if done.returncode == 0 else f"{command[0]}: {done.stderr.strip()}"
