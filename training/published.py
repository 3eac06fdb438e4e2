"""What others published: reference points that are printed beside our scores.

They were measured on the authors' own patients, so they orient and do not rank; only the four public tools
were run on cases that are evaluated here, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engines.segments import Segment


@dataclass(frozen=True, slots=True)
class Published:
    """Scores of one method; None where nothing was published.

    Attributes:
        method: who or what was scored.
        cases: what it was scored on.
        lesion_f1: of lesions, any overlap being a hit.
        sizes: score by size class, small, medium, large.
    """

    method: str
    cases: str
    dice: float | None = None
    lesion_f1: float | None = None
    precision: float | None = None
    recall: float | None = None
    auc: float | None = None
    false_per_case: float | None = None
    sizes: tuple[float, float, float] | None = None

    def sentence(self) -> str:
        """Return method and scores in words."""
        values = {
            "Dice": self.dice,
            "F1": self.lesion_f1,
            "precision": self.precision,
            "recall": self.recall,
            "AUC": self.auc,
        }
        parts = [f"{name} {value:g}" for name, value in values.items() if value is not None]
        if self.sizes is not None:
            parts.append("by size " + " / ".join(f"{value:g}" for value in self.sizes))
        if self.false_per_case is not None:
            parts.append(f"{self.false_per_case:g} false lesions a case")
        return f"{self.method} {', '.join(parts)}"


OWN_PATIENTS = "the authors' patients"
SIMVENT = "simvent cases, labels 1 and 3, five patients"

METHOD = "method paper (Duan et al. 2020)"
READERS = "its six readers, mean"
FLAIR_STUDY = "FLAIR study (Shan et al. 2021)"

PUBLISHED: Mapping[Segment, tuple[Published, ...]] = {
    Segment.WMH: (
        Published(METHOD, OWN_PATIENTS, dice=0.666, lesion_f1=0.644),
        Published(READERS, OWN_PATIENTS, lesion_f1=0.639),
        Published(
            FLAIR_STUDY,
            OWN_PATIENTS,
            dice=0.711,
            precision=0.789,
            recall=0.647,
            auc=0.9959,
            sizes=(0.53, 0.82, 0.96),
        ),
        Published("its first comparator", OWN_PATIENTS, dice=0.584),
        Published("its second comparator", OWN_PATIENTS, dice=0.623),
        Published("best of the WMH challenge 2017", "the challenge's test set", dice=0.81, lesion_f1=0.79),
        Published("LST-LPA", SIMVENT, dice=0.567, lesion_f1=0.526),
        Published("BIANCA", SIMVENT, dice=0.444, lesion_f1=0.372),
        Published("WMH-SynthSeg", SIMVENT, dice=0.364, lesion_f1=0.400),
        Published("LST-LGA", SIMVENT, dice=0.111, lesion_f1=0.233),
    ),
    Segment.LACUNE: (
        Published(METHOD, OWN_PATIENTS, dice=0.496, lesion_f1=0.683),
        Published(READERS, OWN_PATIENTS, lesion_f1=0.525),
    ),
    Segment.INFARCT: (
        Published(METHOD, OWN_PATIENTS, dice=0.728, lesion_f1=0.859),
        Published(READERS, OWN_PATIENTS, lesion_f1=0.839),
        Published("ISLES 2022 ensemble", "the challenge's test set", dice=0.82, lesion_f1=0.86),
    ),
    Segment.MICROBLEED: (
        Published(METHOD, OWN_PATIENTS, dice=0.503, lesion_f1=0.713),
        Published(READERS, OWN_PATIENTS, lesion_f1=0.762),
        Published("best published detector", OWN_PATIENTS, lesion_f1=0.89, false_per_case=0.83),
    ),
}
"""Reference points by segment.

Source: the papers' abstracts and tables; readers: Duan et al. 2020, Table 5. The comparators of the FLAIR
study are a U-ResNet and a 3D U-Net; which of both scored which is not said here.
"""
