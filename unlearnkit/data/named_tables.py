"""Tables by name, with their parts and scaling.

Columns are scaled by constants that come from what is measured, in which units and over which
range it can lie, and not from the values that occur: a mean or a largest value of the column would
still hold those of revoked examples.
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
    purchase_100_arrays,
)

MOST_PROBES = 2000

# Size of each property of a cell nucleus, as a power of ten: of its mean and of its worst value; of
# the standard error of the mean, a tenth.
BREAST_CANCER_SCALE = {
    "radius": 10.0,  # pixels
    "texture": 10.0,  # grey levels
    "perimeter": 100.0,
    "area": 1000.0,
    "smoothness": 0.1,  # and all further ones without a unit
    "compactness": 0.1,
    "concavity": 0.1,
    "concave points": 0.1,
    "symmetry": 0.1,
    "fractal dimension": 0.1,
}

# Measurements of the diabetes data, each mapped to about -2..2 by constants that are no statistics
# of it: an adult's age, the two codes of sex, and the limits between normal and high that medicine
# uses (body mass index 25: WHO; mean arterial pressure of 120/80; cholesterol 200, LDL 130, HDL 50
# mg/dl: NCEP; their ratio 4; triglycerides 150 mg/dl, of which the natural logarithm is given;
# fasting glucose 100 mg/dl). The spreads are round numbers.
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
# The score of progression is published as running from 25 to 346: to about -1.25..2.
DIABETES_TARGET_OFFSET, DIABETES_TARGET_SCALE = 150.0, 100.0

# The survey asked people from 17 on and writes 90 for all above; schooling has codes from 1 to 16,
# hours a week from 1 to 99: each mapped to -1..1. Capital is mostly 0, which stays 0: gains count
# in tens of thousands of dollars (the survey's most is 99,999), losses in thousands.
ADULT_OFFSET: dict[Hashable, float] = {"age": 53.5, "education-num": 8.5, "hours-per-week": 50.0}
ADULT_SCALE: dict[Hashable, float] = {
    "age": 36.5,
    "education-num": 7.5,
    "hours-per-week": 49.0,
    "capital-gain": 10_000.0,
    "capital-loss": 1000.0,
}

# Metres and degrees. Forest grows in northern Colorado around 3,000 m, give or take 1,000 m; a
# compass has 360 degrees, a slope at most 90, a hillshade is a byte: each mapped to -1..1.
# Distances count in kilometres, heights above water in hundreds of metres.
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
    """442 patients, ten measurements, and a score of how diabetes progressed in a year.

    A regression. Loaded unscaled: as scikit-learn gives it by default, every column is centred and
    scaled over all patients, so that each of them is in all rows. Ids number the shuffled examples:
    training 0..308, probe 309..352, test 353..441.

    Source: Efron, Hastie, Johnstone and Tibshirani 2004 (Least Angle Regression), shipped with
    scikit-learn. Licence: none is stated there.
    """
    from sklearn import datasets  # slow to import, and only needed here

    if path is not None:
        raise ValueError(
            f"path={str(path)!r}, but diabetes ships with scikit-learn; leave path= out"
        )
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
    """569 tumours, 30 properties of their cell nuclei, malignant or benign (scikit-learn's).

    Ids number scikit-learn's rows; a fixed shuffle makes 419 of them the training part, 56 the
    probe, 94 the test part.

    Source: Wolberg, Street and Mangasarian 1993, UCI Machine Learning Repository. Licence: CC BY
    4.0.
    """
    from sklearn import datasets  # slow to import, and only needed here

    if path is not None:
        raise ValueError(
            f"path={str(path)!r}, but breast-cancer ships with scikit-learn; leave path= out"
        )
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
    """48,842 people of the US census of 1994: do they earn more than 50,000 dollars a year?

    Five numbers, and eight columns one-hot by the lists of their authors, with a place of its own
    for a missing value: 112 inputs. The survey's weights (fnlwgt) are left out, since they say how
    many people a row stands for. Ids 0..32560 are the published training set in its order,
    32561..48841 its test set, of which a fixed choice of 2,000 is the probe.

    Source: Becker and Kohavi 1996, https://archive.ics.uci.edu/dataset/2/adult. Licence: CC BY 4.0.
    """
    import pandas as pd

    train, test = adult_tables(path)
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
    """581,012 cells of forest, 30 x 30 m, in northern Colorado: which of seven kinds of trees?

    Ten measurements, wilderness area and type of soil one-hot. Ids number the published rows; a
    fixed shuffle makes 2,000 of them the probe, 96,835 the test part, the rest the training part.
    (The authors' own split trains on the first 11,340 rows, chosen by class, and tests on 565,892;
    here the training part is to be large.)

    Source: Blackard and Dean 1999, https://archive.ics.uci.edu/dataset/31/covertype. Licence: CC BY
    4.0, copyright of Jock A. Blackard and Colorado State University.
    """
    columns, classes = covertype_arrays(path)
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


def load_purchase_100(
    *, path: str | Path | None = None, num_examples: int | None = None
) -> Dataset:
    """197,324 shoppers, which of 600 products they bought, in 100 clusters (Shokri et al. 2017).

    The inputs stay bytes of 0 and 1. Ids number the published rows; a fixed shuffle makes 2,000 of
    them the probe, 32,887 the test part, the rest the training part.

    Source: Shokri et al. 2017, https://www.comp.nus.edu.sg/~reza/files/datasets.html, made of
    Kaggle's Acquire Valued Shoppers Challenge. Licence: its authors name none.
    """
    features, labels = purchase_100_arrays(path)
    return _table(
        "purchase-100",
        features,
        labels,
        _shuffled(len(features), num_examples),
        class_names=tuple(str(number) for number in range(1, 101)),
        feature_names=tuple(f"product {number}" for number in range(1, 601)),
        source="Shokri et al. 2017, https://www.comp.nus.edu.sg/~reza/files/datasets.html, made of "
        "Kaggle's Acquire Valued Shoppers Challenge",
        licence="none named by its authors",
    )


def _shuffled(n: int, num_examples: int | None) -> dict[str, Int64[np.ndarray, " k"]]:
    """Rows of each part of a fixed shuffle, which depends on their number alone.

    A sixth is the test part, a tenth but at most 2,000 the probe.
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
