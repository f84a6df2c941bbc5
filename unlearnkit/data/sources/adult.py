"""Adult (census income) from OpenML, fetched by scikit-learn."""

from typing import TYPE_CHECKING, TypeAlias

from unlearnkit.data.sources.download import fetched, from_openml, not_published

if TYPE_CHECKING:
    import pandas as pd

Tables: TypeAlias = tuple["pd.DataFrame", "pd.DataFrame"]

ADULT_TARGET = "income"
ADULT_NUMBERS = ("age", "education-num", "capital-gain", "capital-loss", "hours-per-week")
# The values of each column as listed and spelt by the authors (adult.names); missing values are not
# among them.
ADULT_VALUES: dict[str, tuple[str, ...]] = {
    "workclass": (
        *("Private", "Self-emp-not-inc", "Self-emp-inc", "Federal-gov", "Local-gov", "State-gov"),
        *("Without-pay", "Never-worked"),
    ),
    "education": (
        *("Bachelors", "Some-college", "11th", "HS-grad", "Prof-school", "Assoc-acdm"),
        *("Assoc-voc", "9th", "7th-8th", "12th", "Masters", "1st-4th", "10th", "Doctorate"),
        *("5th-6th", "Preschool"),
    ),
    "marital-status": (
        *("Married-civ-spouse", "Divorced", "Never-married", "Separated", "Widowed"),
        *("Married-spouse-absent", "Married-AF-spouse"),
    ),
    "occupation": (
        *("Tech-support", "Craft-repair", "Other-service", "Sales", "Exec-managerial"),
        *("Prof-specialty", "Handlers-cleaners", "Machine-op-inspct", "Adm-clerical"),
        *("Farming-fishing", "Transport-moving", "Priv-house-serv", "Protective-serv"),
        "Armed-Forces",
    ),
    "relationship": (
        *("Wife", "Own-child", "Husband", "Not-in-family", "Other-relative", "Unmarried"),
    ),
    "race": ("White", "Asian-Pac-Islander", "Amer-Indian-Eskimo", "Other", "Black"),
    "sex": ("Female", "Male"),
    "native-country": (
        *("United-States", "Cambodia", "England", "Puerto-Rico", "Canada", "Germany"),
        *("Outlying-US(Guam-USVI-etc)", "India", "Japan", "Greece", "South", "China", "Cuba"),
        *("Iran", "Honduras", "Philippines", "Italy", "Poland", "Jamaica", "Vietnam", "Mexico"),
        *("Portugal", "Ireland", "France", "Dominican-Republic", "Laos", "Ecuador", "Taiwan"),
        *("Haiti", "Columbia", "Hungary", "Guatemala", "Nicaragua", "Scotland", "Thailand"),
        *("Yugoslavia", "El-Salvador", "Trinadad&Tobago", "Peru", "Hong", "Holand-Netherlands"),
    ),
    ADULT_TARGET: ("<=50K", ">50K"),
}
COLUMNS = (
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status"),
    *("occupation", "relationship", "race", "sex", "capital-gain", "capital-loss"),
    *("hours-per-week", "native-country", ADULT_TARGET),
)

# Number of rows of the training and the test file, and of those with an income above 50K.
ROWS, ABOVE = (32_561, 16_281), (7841, 3846)


def adult_tables() -> Tables:
    """Fetch Adult: the training and the test table, with missing values as None or NaN.

    They come from OpenML (``adult``, version 2), or from scikit-learn's copy of it.

    Raises:
        FileNotFoundError: there is no copy, and OpenML did not deliver the data.
        ValueError: the data are not those that were published.
    """
    return fetched("Adult", "OpenML", _download)


def _checked(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return the table without survey weights, after checking its values against the lists."""
    for column, values in ADULT_VALUES.items():
        other = set(table[column].dropna()) - set(values)
        if other:
            raise not_published(
                "Adult", f"{column} has the value {min(other)!r}, expected one of {list(values)}"
            )
    return table[[*ADULT_NUMBERS, *ADULT_VALUES]]


def _download() -> Tables:
    bunch = from_openml("adult", 2, 1590, as_frame=True)
    try:
        table = bunch.frame.rename(columns={"class": ADULT_TARGET})[list(COLUMNS)]
        table = table.astype(dict.fromkeys(ADULT_VALUES, object))
    except KeyError as error:  # other columns
        raise OSError(f"OpenML's answer is unusable: {error}") from error
    table = _checked(table)
    # The copy joins both files. The numbers of rows and of high incomes tell which comes first.
    above = (table[ADULT_TARGET] == ADULT_VALUES[ADULT_TARGET][1]).to_numpy()
    for first, last in ((0, 1), (1, 0)):
        parts = (above[: ROWS[first]], above[ROWS[first] :])
        if len(parts[1]) == ROWS[last] and [part.sum() for part in parts] == [
            ABOVE[first],
            ABOVE[last],
        ]:
            tables = (table[: ROWS[first]], table[ROWS[first] :])
            return tables[first], tables[last]
    raise not_published(
        "Adult",
        f"{len(above)} rows, {above.sum()} of them above 50K, are not the two published files one "
        f"after the other, of {ROWS} rows with {ABOVE} above",
    )
