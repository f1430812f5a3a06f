"""The docstring check covers the sections that a docstring has."""

from pathlib import Path

from tests.docstrings import findings

CODE = '''
def bare(x: int) -> int:
    """Double it.

    Raises:
        ValueError: If it is odd.
    """
    return 2 * x


def documented(x: int) -> int:
    """Double it.

    Args:
        y: Another name.
    """
    return 2 * x
'''


def test_missing_section_is_accepted_and_wrong_one_reported(tmp_path: Path) -> None:
    path = tmp_path / "code.py"
    path.write_text(CODE)
    output = (
        f"\n{path}\n    2: DOC101: Function `bare`: fewer arguments\n"
        "    2: DOC201: Function `bare` has no return section\n"
        "    11: DOC103: Function `documented`: different arguments\n"
        "    11: DOC201: Function `documented` has no return section\n"
        "    2: DOC111: Function `bare`: type hints\n"
    )
    kept = [line.rpartition(":")[0].split(":", 1)[1] for line in findings(output)]
    assert [line.split(": ")[:2] for line in kept] == [
        ["11", "DOC103"],
        ["2", "DOC111"],
    ]
