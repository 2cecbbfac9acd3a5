import numpy as np
import pytest

from pvae.data.tables import read_table


@pytest.fixture
def table(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "table.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_numbers_without_a_header(table):
    x, y, columns = read_table(table("1.5,2\n-3,4e1\n"))
    assert x.tolist() == [[1.5, 2], [-3, 40]]
    assert y is columns is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_header_names_the_columns(table, encoding):
    x, y, columns = read_table(table("höhe, width\n\n1,2\n3,4\n", encoding))
    assert x.tolist() == [[1, 2], [3, 4]]
    assert x.dtype == np.int64
    assert y is None
    assert columns == ("höhe", "width")


@pytest.mark.parametrize("name", ["label", "labels", "y", "target", "class", " Label "])
def test_a_column_of_labels(table, name):
    x, y, columns = read_table(table(f"0,{name},1\n5,7,6\n8,9,2\n"))
    assert x.tolist() == [[5, 6], [8, 2]]
    assert columns == ("0", "1")
    assert y.tolist() == [7, 9]
    assert y.dtype == np.int64


def test_labels_may_be_strings(table):
    _, y, _ = read_table(table('x,class\n1,cat\n2,"big, dog"\n'))
    assert y.tolist() == ["cat", "big, dog"]


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("1,2\n3\n", ["1 columns in line 2", "2 in its first"]),
        ("1,2\n3,x\n", ["'x' in line 2, column 2"]),
        ("1,x\n3,4\n", ["'x' in line 1, column 2"]),
        ("a,b\n1,\n", ["'' in line 2, column 2"]),
        ("y,a,b\n1,2,x\n", ["'x' in line 2, column 3"]),
        ("a,y\nx,1\n", ["'x' in line 2, column 1"]),
        ("y,label\n1,2\n", ["'y' and 'label'"]),
        ("", ["no values"]),
        ("a,b\n", ["no values"]),
        ("label\n1\n", ["no values"]),
    ],
)
def test_faults_are_placed(table, text, fragments, fails):
    path = table(text)
    with fails(ValueError, str(path), *fragments):
        read_table(path)


def test_other_encodings_are_refused(table, fails):
    with fails(ValueError, "not a table"):
        read_table(table("höhe\n1\n", "latin-1"))
