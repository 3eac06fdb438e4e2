"""The training loop: learns, resumes exactly, stops when it should, refuses what it cannot continue."""

import errno
import json
import resource
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engines.bundle import load_bundle, shipped_bundles
from tests.support.training_cases import bright_spot_case, tiny_recipe
from training.errors import BusyError, CheckpointError, MemoryShortError, NoSamplesError, StorageError
from training.loop import train
from training.recipe import AugmentationSettings, Decay, Keep, NetworkSettings
from training.run_folder import name_bundle, read_data
from training.safekeeping import RESERVE, keep, reserve
from training.slices import store_cases


@pytest.fixture
def cases(tmp_path):
    return store_cases(
        [bright_spot_case(str(n), seed=n) for n in range(3)], tiny_recipe(), tmp_path / "store"
    )


def weights(folder) -> dict[str, torch.Tensor]:
    return torch.load(folder / "weights.pt", weights_only=True)


def test_a_run_that_is_stopped_and_resumed_ends_with_the_same_weights(cases, tmp_path) -> None:
    recipe = tiny_recipe()
    train(recipe, cases[:2], cases[2:], tmp_path / "whole")
    train(recipe, cases[:2], cases[2:], tmp_path / "parts", stop_after=6)
    train(recipe, cases[:2], cases[2:], tmp_path / "parts")
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    histories = [json.loads((tmp_path / run / "history.json").read_text()) for run in ("whole", "parts")]
    assert [epoch["loss"] for epoch in histories[0]] == [epoch["loss"] for epoch in histories[1]]


def test_the_run_folder_tells_how_it_was_made(cases, tmp_path) -> None:
    train(tiny_recipe(), cases[:2], cases[2:], tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "recipe.yaml", "data.json", "checkpoint.pt", "weights.pt", "history.json", "curves.png",
    }  # fmt: skip
    data = json.loads((tmp_path / "run" / "data.json").read_text())
    assert data["training"] == {"simulated": 2}
    assert [case["sha256"] for case in data["cases"]] == [case.digest for case in cases]
    assert "seed: 3" in (tmp_path / "run" / "recipe.yaml").read_text()


def test_training_lowers_the_loss_and_finds_the_spot(cases, tmp_path) -> None:
    recipe = tiny_recipe()
    schedule = recipe.schedule.model_copy(update={"epoch_steps": 30, "epochs": 3, "learning_rate": 0.02})
    recipe = recipe.model_copy(update={"schedule": schedule})
    train(recipe, cases[:2], cases[2:], tmp_path / "run")
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert history[-1]["dice"] > 0.5


def test_a_run_without_a_case_is_refused(tmp_path) -> None:
    with pytest.raises(NoSamplesError, match="tiny, WMH"):
        train(tiny_recipe(), [], [], tmp_path)


def begun_with(cases, folder, **changes) -> None:
    """Go on with a run under another recipe."""
    schedule = tiny_recipe().schedule.model_copy(update=changes.pop("schedule", {}))
    train(tiny_recipe(schedule=schedule, **changes), cases, [], folder, stop_after=3)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"network": NetworkSettings(channels=(8, 16), fold=2)}, r"network.channels \[8, 8\], .* \[8, 16\]"),
        ({"schedule": {"learning_rate": 0.5}}, r"schedule.learning_rate 0.01, the recipe says 0.5"),
        ({"augmentation": AugmentationSettings()}, r"augmentation.flip 0.5, the recipe says 0.0"),
        ({"seed": 9}, "seed 3, the recipe says 9"),
    ],
)
def test_a_run_that_was_begun_with_another_recipe_is_refused(cases, tmp_path, changes, told) -> None:
    train(tiny_recipe(), cases, [], tmp_path / "run", stop_after=1)
    before = (tmp_path / "run" / "recipe.yaml").read_bytes()
    with pytest.raises(CheckpointError, match=f"was begun with {told}"):
        begun_with(cases, tmp_path / "run", **changes)
    assert (tmp_path / "run" / "recipe.yaml").read_bytes() == before


def test_a_run_may_be_lengthened_and_given_less_memory(cases, tmp_path) -> None:
    train(tiny_recipe(), cases, [], tmp_path / "run", stop_after=1)
    begun_with(cases, tmp_path / "run", schedule={"batch": 2, "validation_slices": 9, "epochs": 5})
    assert "epochs: 5" in (tmp_path / "run" / "recipe.yaml").read_text()


def test_a_run_that_was_begun_on_other_cases_is_refused(cases, tmp_path) -> None:
    train(tiny_recipe(), cases[:2], [], tmp_path / "run", stop_after=1)
    with pytest.raises(CheckpointError, match=rf"1 are new or changed \({cases[2].name}\)"):
        train(tiny_recipe(), cases, [], tmp_path / "run")
    with pytest.raises(CheckpointError, match=rf"1 are gone or changed \({cases[1].name}\)"):
        train(tiny_recipe(), cases[:1], [], tmp_path / "run")


def test_a_run_whose_cases_lie_otherwise_is_refused(cases, tmp_path) -> None:
    train(tiny_recipe(), cases[:2], [], tmp_path / "run", stop_after=1)
    turned = replace(cases[1], geometry="another")
    with pytest.raises(CheckpointError, match=rf"1 are new or changed \({cases[1].name}\)"):
        train(tiny_recipe(), [cases[0], turned], [], tmp_path / "run")


def test_a_run_that_goes_on_still_tells_which_bundle_it_was_begun_with(cases, tmp_path) -> None:
    train(tiny_recipe(), cases[:2], [], tmp_path / "run", stop_after=1)
    named = name_bundle(shipped_bundles() / "wmh")
    assert named == f"csvd-wmh {load_bundle(shipped_bundles() / 'wmh').manifest.version}"
    assert name_bundle(tmp_path / "run" / "weights.pt") is None
    data = read_data(tmp_path / "run") | {"begun_with": named}
    (tmp_path / "run" / "data.json").write_text(json.dumps(data))
    train(tiny_recipe(), cases[:2], [], tmp_path / "run")
    assert read_data(tmp_path / "run")["begun_with"] == named


def test_an_ended_run_goes_on_to_tell_what_it_learned_from(cases, tmp_path) -> None:
    train(tiny_recipe(), cases[:2], [], tmp_path / "run")
    before = (tmp_path / "run" / "data.json").read_bytes()
    train(tiny_recipe(), cases, [], tmp_path / "run")
    assert (tmp_path / "run" / "data.json").read_bytes() == before


def test_two_trainings_at_once_in_one_folder_are_refused(cases, tmp_path) -> None:
    def meanwhile(*_: object) -> None:
        with pytest.raises(BusyError, match="another process trains here"):
            train(tiny_recipe(), cases, [], tmp_path / "run")

    train(tiny_recipe(), cases, [], tmp_path / "run", report=meanwhile, stop_after=1)


def test_a_broken_checkpoint_is_named(cases, tmp_path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt"):
        train(tiny_recipe(), cases, [], tmp_path)


def test_a_full_disk_is_noticed_before_training(cases, tmp_path) -> None:
    with pytest.raises(StorageError, match="MB needed"):
        train(tiny_recipe(), cases, [], tmp_path, needed_mb=1e12)


def test_want_of_memory_leaves_a_checkpoint_to_go_on_from(cases, tmp_path) -> None:
    def greedy(epoch, step: int, last: int) -> None:
        if step == 12:
            raise MemoryError

    recipe = tiny_recipe()
    train(recipe, cases[:2], cases[2:], tmp_path / "whole")
    with pytest.raises(MemoryShortError, match=r"checkpoint\.pt is safe"):
        train(recipe, cases[:2], cases[2:], tmp_path / "parts", report=greedy)
    train(recipe, cases[:2], cases[2:], tmp_path / "parts")
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_an_epoch_that_died_before_its_validation_is_validated_on_resume(cases, tmp_path) -> None:
    class Unvalidated(list):
        def __len__(self) -> int:
            raise MemoryError

    with pytest.raises(MemoryShortError):
        train(tiny_recipe(), cases[:2], Unvalidated(cases[2:]), tmp_path / "run")
    held = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert held["step"] == 4
    train(tiny_recipe(), cases[:2], cases[2:], tmp_path / "run")
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert [epoch["dice"] is not None for epoch in history] == [True] * 3


def test_a_disk_that_fills_up_leaves_the_last_checkpoint(cases, tmp_path) -> None:
    train(tiny_recipe(), cases[:2], cases[2:], tmp_path / "run", stop_after=6)
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(StorageError, match=r"checkpoint\.pt"):
            train(tiny_recipe(), cases[:2], cases[2:], tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before
    assert not list((tmp_path / "run").glob("*.part"))


def test_the_last_checkpoint_takes_the_room_that_was_kept_back(tmp_path) -> None:
    reserve(tmp_path, 10)
    (tmp_path / "checkpoint.pt").write_text("old")

    def write(content: object, path: Path) -> None:
        if (tmp_path / RESERVE).exists():
            path.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")
        path.write_text(str(content))

    keep("new", tmp_path / "checkpoint.pt", write)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"checkpoint.pt": "new"}


@pytest.mark.parametrize(
    ("changes", "epochs"),
    [
        pytest.param(
            {"epochs": 9, "patience_epochs": 2, "learning_rate": 1e-9, "keep": Keep.DICE}, 3, id="patience"
        ),
        pytest.param(
            {"epochs": 9, "overfit_score": 0.0, "overfit_lead": 0.0}, 2, id="far-ahead-of-validation"
        ),
    ],
)
def test_a_run_stops_early(cases, tmp_path, changes, epochs) -> None:
    schedule = tiny_recipe().schedule.model_copy(update=changes)
    train(tiny_recipe(schedule=schedule), cases[:2], cases[2:], tmp_path / "run")
    validated = len(json.loads((tmp_path / "run" / "history.json").read_text()))
    assert validated <= epochs
    assert json.loads((tmp_path / "run" / "data.json").read_text())["steps"] == 4 * validated


def test_the_rate_falls_when_validation_stalls(cases, tmp_path) -> None:
    schedule = tiny_recipe().schedule.model_copy(
        update={
            "decay": Decay.PLATEAU,
            "plateau_epochs": 1,
            "plateau_factor": 0.5,
            "epochs": 4,
            "learning_rate": 1e-9,
        }
    )
    train(tiny_recipe(schedule=schedule), cases[:2], cases[2:], tmp_path / "run")
    rates = [epoch["learning_rate"] for epoch in json.loads((tmp_path / "run" / "history.json").read_text())]
    assert rates[0] == pytest.approx(1e-9)
    assert rates[-1] == pytest.approx(0.25e-9)
