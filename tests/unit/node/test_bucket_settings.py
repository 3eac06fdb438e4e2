from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from node.bucket_files import BucketFiles
from node.storage import StorageSettings


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(StorageSettings(bucket="studies"), id="credentials-of-the-machine"),
        pytest.param(StorageSettings(bucket="studies", prefix="csvd/"), id="prefix"),
        pytest.param(
            StorageSettings(
                bucket="studies",
                endpoint="https://objects.hospital.example",
                access_key_id=SecretStr("node"),
                secret_access_key=SecretStr("secret"),
            ),
            id="everything-named",
        ),
    ],
)
def test_a_bucket_opens_with_what_is_set_alone(tmp_path: Path, settings: StorageSettings) -> None:
    assert "studies" in BucketFiles(settings, tmp_path).place
