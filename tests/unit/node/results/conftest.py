"""A Study with findings, and one without lesions and without a T2*, made once for all tests of results."""

from __future__ import annotations

import pytest

from engines.segments import SeriesType
from node.results.build import build_results
from node.results.result_object import ResultObject
from tests.support.result_studies import ResultStudy, context, four_series


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> ResultStudy:
    return four_series(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="session")
def study_without_lesions(tmp_path_factory: pytest.TempPathFactory) -> ResultStudy:
    """No T2* either: microbleeds were not assessed."""
    return four_series(tmp_path_factory.mktemp("empty"), lesions={}, left_out=[SeriesType.T2_STAR])


@pytest.fixture(scope="session")
def results(study: ResultStudy) -> dict[str, ResultObject]:
    return {made.role: made for made in build_results(study.findings, study.sources, context())}


@pytest.fixture(scope="session")
def results_without_lesions(study_without_lesions: ResultStudy) -> dict[str, ResultObject]:
    empty = study_without_lesions
    return {made.role: made for made in build_results(empty.findings, empty.sources, context())}
