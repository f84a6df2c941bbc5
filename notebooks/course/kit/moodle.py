"""Put marks into Moodle's grading worksheet: ``python moodle.py marks.csv worksheet.csv out.csv``.

In Moodle, open the assignment, *View all submissions*, and use the menu *Grading action*:
"Download grading worksheet" gives the worksheet (the assignment needs *Offline grading worksheet*
among its feedback types), and "Download all submissions" the notebooks. Unpack these, let
``mark.py`` mark the folder, run this, and upload the result with "Upload grading worksheet".
"""

import argparse
import csv
import re
from pathlib import Path

PARTICIPANT = re.compile(
    r"_(\d+)_assignsubmission"
)  # in the names that Moodle gives to submissions
NEEDED = ("Identifier", "Grade", "Maximum Grade")


def read_marks(path: Path, assignment: str | None) -> dict[str, dict[str, str]]:
    """Rows of the table of marks by the number of the participant.

    Raises:
        ValueError: the table has several assignments, two rows of a participant, or none of Moodle.
    """
    rows = list(csv.DictReader(path.open(newline="", encoding="utf-8")))
    if assignment is not None:
        rows = [row for row in rows if row["assignment"] == assignment]
    names = sorted({row["assignment"] for row in rows})
    if len(names) > 1:
        raise ValueError(f"{path} has marks of {', '.join(names)}; choose one with --assignment")
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        number = PARTICIPANT.search(row["student"] + "_")
        if number is None:
            continue
        if number[1] in found:
            raise ValueError(f"{path} has two rows of participant {number[1]}; remove one of them")
        found[number[1]] = row
    if not found:
        raise ValueError(
            f"{path} has no submission whose folder is named by Moodle, such as "
            "'Ada Lovelace_4711_assignsubmission_file'; mark the folder as Moodle packed it"
        )
    return found


def filled(
    sheet: list[dict[str, str]], marks: dict[str, dict[str, str]], scale: bool
) -> tuple[list[dict[str, str]], list[str]]:
    """The worksheet with grades and comments, and what a person should look at.

    Raises:
        ValueError: a column is missing, or the maximum grade is not that of the assignment.
    """
    if missing := [name for name in NEEDED if sheet and name not in sheet[0]]:
        raise ValueError(f"the worksheet has no column {', '.join(missing)}; is it Moodle's?")
    done, odd, left = [], [], dict(marks)
    for row in sheet:
        number = re.sub(r"\D", "", row["Identifier"])
        mark = left.pop(number, None)
        done.append(row := dict(row))
        if mark is None:
            continue
        if row.get("Grade can be changed", "Yes") == "No":
            odd.append(f"{row['Identifier']}: Moodle says that the grade cannot be changed")
            continue
        if not mark["marks"]:
            odd.append(f"{row['Identifier']}: no mark yet ({mark['why_blank']})")
            continue
        of, most = float(mark["of"]), float(row["Maximum Grade"])
        if of != most and not scale:
            raise ValueError(
                f"the assignment has {of:g} marks and the worksheet a maximum grade of {most:g}; "
                "change it in Moodle, or use --scale"
            )
        row["Grade"] = f"{float(mark['marks']) * most / of:.2f}"
    odd += [f"participant {number}: marked, but not in the worksheet" for number in left]
    return done, odd


def main() -> None:
    """Read the command line, and write the worksheet."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("marks", type=Path, help="the table that mark.py wrote")
    parser.add_argument("worksheet", type=Path, help="the worksheet that Moodle offers")
    parser.add_argument("out", type=Path, help="the worksheet to upload")
    parser.add_argument("--assignment", help="which one, if the table has several")
    parser.add_argument("--scale", action="store_true", help="convert to Moodle's maximum grade")
    chosen = parser.parse_args()
    with chosen.worksheet.open(newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(file)
        sheet, columns = list(table), list(table.fieldnames or [])
    try:
        done, odd = filled(sheet, read_marks(chosen.marks, chosen.assignment), chosen.scale)
    except ValueError as error:
        parser.error(str(error))
    with chosen.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(done)
    print("\n".join([*odd, f"{chosen.out}: {len(done)} rows"]))


if __name__ == "__main__":
    main()
