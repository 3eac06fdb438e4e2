"""Container images, built from the Dockerfile and run as a hospital would: closed but for their data."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.support.chart import REPOSITORY

CPU, GPU = "localhost/csvd-node:cpu", "localhost/csvd-node:gpu"

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
    "--network=none",
    "--read-only",
    "--tmpfs=/tmp",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
)


def podman(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PODMAN, *arguments], capture_output=True, text=True, timeout=1200, check=False)


def in_image(
    *command: str, entrypoint: str = "csvd-node", image: str = CPU
) -> subprocess.CompletedProcess[str]:
    """Run a command in a fresh container: read-only, without capabilities, as the image's user."""
    study = f"--volume={REPOSITORY / 'tests' / 'data' / 'demo_study'}:/study:ro"
    return podman(*HARDENED, study, f"--entrypoint={entrypoint}", image, *command)


def build(target: str) -> None:
    """Build a target; skip where this machine can not, which is tried and not guessed."""
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
    with tempfile.TemporaryDirectory() as folder:
        return _no_overlay(Path(folder)) or _no_device(Path(folder)) or _no_container(Path(folder))


def _no_overlay(folder: Path) -> str:
    """Mount layers over each other where images are kept, in a mount namespace of its own."""
    if DRIVER != "overlay":
        return ""
    kept = Path("/var/lib/containers")
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept) as place:
        for name in ("lower", "upper", "work", "merged"):
            (Path(place) / name).mkdir()
        options = f"lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work"
        return _complaint(
            "unshare", "--mount", "mount", "-toverlay", "overlay", f"-o{options}", f"{place}/merged"
        )


def _no_device(folder: Path) -> str:
    """Make a device, as debootstrap does."""
    return _complaint("mknod", f"{folder}/null", "c", "1", "3")


def _no_container(folder: Path) -> str:
    """Run a container of one program and what it is linked against."""
    root = folder / "root"
    linked = subprocess.run(["ldd", "/bin/true"], capture_output=True, text=True, check=True).stdout.split()
    for name in ("/bin/true", *(word for word in linked if word.startswith("/"))):
        (root / name[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, root / name[1:])
    return _complaint(*PODMAN, *HARDENED, "--rootfs", str(root), "/bin/true")


def _complaint(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return "" if done.returncode == 0 else f"{command[0]}: {done.stderr.strip()}"
