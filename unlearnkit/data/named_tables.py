"""Named tables, with their parts and scaling.

Columns are scaled by constants that follow from the measured quantity, its unit and its possible
range, not from the values that occur: a mean or a maximum of a column would depend on examples that
are revoked later.
"""

from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, Shaped

from unlearnkit.data.arrays import first_of, keyed_permutation, split
from unlearnkit.data.encoding import Encoding
from unlearnkit.data.examples import Dataset
from unlearnkit.data.sources import (
    ADULT_NUMBERS,
    ADULT_TARGET,
    ADULT_VALUES,
    adult_tables,
    covertype_arrays,
)

MOST_PROBES = 2000

# Order of magnitude of each property of a cell nucleus. It scales the mean and the worst value; the
# standard error of the mean is scaled by a tenth of it.
BREAST_CANCER_SCALE = {
    "radius": 10.0,  # pixels
    "texture": 10.0,  # grey levels
    "perimeter": 100.0,
    "area": 1000.0,
    "smoothness": 0.1,  # this one and all below have no unit
    "compactness": 0.1,
    "concavity": 0.1,
    "concave points": 0.1,
    "symmetry": 0.1,
    "fractal dimension": 0.1,
}

# Offset and scale of each measurement of the diabetes data, which map it to about -2..2. They are
# no statistics of the data: the offsets are an adult's age, the middle of the two codes of sex, and
# the limits between normal and high in medicine (body mass index 25: WHO; mean arterial pressure at
# 120/80; cholesterol 200, LDL 130 and HDL 50 mg/dl: NCEP; their ratio 4; natural logarithm of
# triglycerides of 150 mg/dl; fasting glucose 100 mg/dl). The scales are round numbers.
DIABETES_COLUMNS = {
    "age": (50.0, 15.0),
    "sex": (1.5, 0.5),
    "body mass index": (25.0, 5.0),
    "blood pressure": (93.0, 15.0),
    "cholesterol": (200.0, 40.0),
    "LDL": (130.0, 40.0),
    "HDL": (50.0, 15.0),
    "cholesterol/HDL": (4.0, 1.5),
    "log triglycerides": (5.0, 0.5),
    "glucose": (100.0, 15.0),
}
# The published range of the progression score, 25 to 346, is mapped to about -1.25..2.
DIABETES_TARGET_OFFSET, DIABETES_TARGET_SCALE = 150.0, 100.0

# Ages range from 17 to 90 (the survey's code for all above), education codes from 1 to 16 and hours
# per week from 1 to 99; each is mapped to -1..1. Capital gains and losses are mostly 0, which stays
# 0; gains are in units of 10,000 dollars (at most 99,999 dollars), losses in units of 1,000.
ADULT_OFFSET: dict[Hashable, float] = {"age": 53.5, "education-num": 8.5, "hours-per-week": 50.0}
ADULT_SCALE: dict[Hashable, float] = {
    "age": 36.5,
    "education-num": 7.5,
    "hours-per-week": 49.0,
    "capital-gain": 10_000.0,
    "capital-loss": 1000.0,
}

# In metres and degrees. Forest in northern Colorado grows at about 2,000 to 4,000 m, azimuths range
# to 360 degrees, slopes to 90, and hillshade is a byte; each is mapped to -1..1. Horizontal
# distances are in units of a kilometre, heights above water in units of 100 m.
COVERTYPE_SCALING: dict[str, tuple[float, float]] = {
    "Elevation": (3000.0, 1000.0),
    "Aspect": (180.0, 180.0),
    "Slope": (45.0, 45.0),
    "Horizontal_Distance_To_Hydrology": (0.0, 1000.0),
    "Vertical_Distance_To_Hydrology": (0.0, 100.0),
    "Horizontal_Distance_To_Roadways": (0.0, 1000.0),
    "Hillshade_9am": (127.5, 127.5),
    "Hillshade_Noon": (127.5, 127.5),
    "Hillshade_3pm": (127.5, 127.5),
    "Horizontal_Distance_To_Fire_Points": (0.0, 1000.0),
}
COVERTYPE_FEATURES = (
    *COVERTYPE_SCALING,
    *(f"Wilderness_Area={area}" for area in ("Rawah", "Neota", "Comanche Peak", "Cache la Poudre")),
    *(f"Soil_Type={number}" for number in range(1, 41)),
)
COVERTYPE_CLASSES = (
    *("Spruce/Fir", "Lodgepole Pine", "Ponderosa Pine", "Cottonwood/Willow", "Aspen"),
    *("Douglas-fir", "Krummholz"),
)


def load_diabetes(*, path: str | Path | None = None, num_examples: int | None = None) -> Dataset:
    """Load a regression: 442 patients, ten measurements, and the progression of their diabetes.

    The target is a score of the progression within a year. The data are loaded unscaled, because
    scikit-learn's default scaling uses statistics over all patients. Ids number the shuffled
    examples: training 0..308, probe 309..352, test 353..441.

    Source: Efron, Hastie, Johnstone and Tibshirani 2004 (Least Angle Regression), included in
    scikit-learn. Licence: none is stated there.
    """
    from sklearn import datasets  # slow to import, and only needed here

    _no_path("diabetes", path, "ships with scikit-learn")
    order = keyed_permutation(442, seed=0)
    train = first_of(np.arange(309), num_examples)
    measured, progression = datasets.load_diabetes(return_X_y=True, scaled=False)
    offsets, scales = np.array(list(DIABETES_COLUMNS.values())).T
    features = ((measured[order] - offsets) / scales).astype(np.float32)
    scaled = (progression[order] - DIABETES_TARGET_OFFSET) / DIABETES_TARGET_SCALE
    dataset = split(
        "diabetes",
        torch.from_numpy(features),
        torch.from_numpy(scaled.astype(np.float32)).unsqueeze(1),
        {"train": train, "probe": np.arange(309, 353), "test": np.arange(353, 442)},
        class_names=(),
        offset=0.0,
        scale=1.0,
        target_names=("progression",),
        target_offset=(DIABETES_TARGET_OFFSET,),
        target_scale=(DIABETES_TARGET_SCALE,),
    )
    return replace(
        dataset,
        feature_names=tuple(DIABETES_COLUMNS),
        source="Efron, Hastie, Johnstone and Tibshirani 2004 (Least Angle Regression), by "
        "scikit-learn",
        licence="none is stated",
    )


def load_breast_cancer(
    *, path: str | Path | None = None, num_examples: int | None = None
) -> Dataset:
    """Load 569 tumours with 30 properties of their cell nuclei, malignant or benign.

    Ids are the row numbers in scikit-learn. A fixed shuffle assigns 419 examples to the training,
    56 to the probe and 94 to the test part.

    Source: Wolberg, Street and Mangasarian 1993, UCI Machine Learning Repository. Licence: CC BY
    4.0.
    """
    from sklearn import datasets  # slow to import, and only needed here

    _no_path("breast-cancer", path, "ships with scikit-learn")
    bunch = datasets.load_breast_cancer()
    names = tuple(map(str, bunch.feature_names))
    scale = [_breast_cancer_scale(name) for name in names]
    return _table(
        "breast-cancer",
        (bunch.data / scale).astype(np.float32),
        bunch.target,
        _shuffled(len(bunch.data), num_examples),
        class_names=tuple(map(str, bunch.target_names)),
        feature_names=names,
        source="Wolberg, Street and Mangasarian 1993, UCI Machine Learning Repository, by "
        "scikit-learn",
        licence="CC BY 4.0",
    )


def _breast_cancer_scale(name: str) -> float:
    if name.endswith(" error"):
        return BREAST_CANCER_SCALE[name.removesuffix(" error")] / 10
    return BREAST_CANCER_SCALE[name.partition(" ")[2]]


def load_adult(*, path: str | Path | None = None, num_examples: int | None = None) -> Dataset:
    """Load Adult: 48,842 people of the US census of 1994, by income above or below 50,000 dollars.

    Five numeric columns and eight one-hot columns, whose vocabularies are those of the authors with
    a further position for missing values, make 112 inputs. The survey weights (fnlwgt) are left
    out, because they are not a property of a person. Ids 0..32560 are the published training set in
    its order and 32561..48841 the test set, from which a fixed random choice of 2,000 examples is
    the probe part.

    Source: Becker and Kohavi 1996, https://archive.ics.uci.edu/dataset/2/adult. Licence: CC BY 4.0.
    """
    import pandas as pd

    _no_path("adult", path, "is fetched by scikit-learn")
    train, test = adult_tables()
    vocabularies: dict[Hashable, tuple[Hashable, ...]] = {
        column: values for column, values in ADULT_VALUES.items() if column != ADULT_TARGET
    }
    encode = Encoding(
        (*ADULT_NUMBERS, *vocabularies), vocabularies, offset=ADULT_OFFSET, scale=ADULT_SCALE
    )
    table = pd.concat([train, test], ignore_index=True)
    held_out = len(train) + keyed_permutation(len(test), seed=0)
    num_probe = min(MOST_PROBES, len(test) // 5)
    return _table(
        "adult",
        encode(table),
        (table[ADULT_TARGET] == ADULT_VALUES[ADULT_TARGET][1]).to_numpy(),
        {
            "train": first_of(keyed_permutation(len(train), seed=0), num_examples),
            "probe": held_out[:num_probe],
            "test": held_out[num_probe:],
        },
        class_names=ADULT_VALUES[ADULT_TARGET],
        feature_names=encode.names,
        source="Becker and Kohavi 1996, https://archive.ics.uci.edu/dataset/2/adult",
        licence="CC BY 4.0",
    )


def load_covertype(*, path: str | Path | None = None, num_examples: int | None = None) -> Dataset:
    """Load Covertype: 581,012 forest cells of 30 x 30 m in Colorado, by seven types of trees.

    The inputs are ten measurements, and wilderness area and soil type one-hot. Ids number the
    published rows. A fixed shuffle assigns 2,000 examples to the probe, 96,835 to the test and the
    rest to the training part, which the authors' split would make much smaller (11,340).

    Source: Blackard and Dean 1999, https://archive.ics.uci.edu/dataset/31/covertype. Licence: CC BY
    4.0, copyright of Jock A. Blackard and Colorado State University.
    """
    _no_path("covertype", path, "is fetched by scikit-learn")
    columns, classes = covertype_arrays()
    features = columns.astype(np.float32)
    for place, (offset, scale) in enumerate(COVERTYPE_SCALING.values()):
        features[:, place] = (features[:, place] - offset) / scale
    return _table(
        "covertype",
        features,
        classes - 1,
        _shuffled(len(features), num_examples),
        class_names=COVERTYPE_CLASSES,
        feature_names=COVERTYPE_FEATURES,
        source="Blackard and Dean 1999, https://archive.ics.uci.edu/dataset/31/covertype",
        licence="CC BY 4.0, copyright of Jock A. Blackard and Colorado State University",
    )


def _no_path(name: str, path: str | Path | None, reason: str) -> None:
    if path is not None:
        raise ValueError(
            f"path={str(path)!r}, but {name} {reason}; leave path= out, or read your own file with "
            "from_file"
        )


def _shuffled(n: int, num_examples: int | None) -> dict[str, Int64[np.ndarray, " k"]]:
    """Return the rows of each part, by a fixed shuffle that depends only on their number.

    A sixth of the rows is the test part; a tenth, but at most 2,000, is the probe part.
    """
    order = keyed_permutation(n, seed=0)
    num_test, num_probe = n // 6, min(MOST_PROBES, n // 10)
    return {
        "train": first_of(order[num_test + num_probe :], num_examples),
        "probe": order[num_test : num_test + num_probe],
        "test": order[:num_test],
    }


def _table(
    name: str,
    features: Shaped[np.ndarray, "n column"],
    labels: Shaped[np.ndarray, " n"],
    parts: dict[str, Int64[np.ndarray, " k"]],
    *,
    class_names: tuple[str, ...],
    feature_names: tuple[str, ...],
    source: str,
    licence: str,
) -> Dataset:
    dataset = split(
        name,
        torch.from_numpy(features),
        torch.from_numpy(labels.astype(np.int64)),
        parts,
        class_names=class_names,
        offset=0.0,
        scale=1.0,
    )
    return replace(dataset, feature_names=feature_names, source=source, licence=licence)
