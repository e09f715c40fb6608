"""groups.yaml: what a person may write, and one line for everything else."""

import numpy as np
import pytest

from zoo.analysis.groups import read_groups, write_groups
from zoo.errors import ZooError


def groups(tmp_path, text, clusters=5):
    path = tmp_path / "groups.yaml"
    path.write_text(text)
    return read_groups(path, clusters)


def refused(tmp_path, text, clusters=5):
    with pytest.raises(ZooError) as caught:
        groups(tmp_path, text, clusters)
    line = str(caught.value)
    assert "\n" not in line and "groups.yaml" in line
    return line


def test_a_new_file_holds_every_cluster_under_ignore(tmp_path):
    write_groups(tmp_path / "groups.yaml", 4)
    text = (tmp_path / "groups.yaml").read_text()
    assert text.splitlines()[-1] == "ignore: [0, 1, 2, 3]"
    with pytest.raises(ZooError, match="all clusters stand under ignore or background; look at montage.png"):
        read_groups(tmp_path / "groups.yaml", 4)
    found = groups(tmp_path, text.replace("ignore: [0, 1, 2, 3]", "surface: [3, 1]\nignore: [0, 2]"), 4)
    assert found.names == ("surface",) and found.of_cluster.tolist() == [-1, 1, -1, 1]


def test_groups_are_numbered_in_the_order_of_the_file(tmp_path):
    text = "background: [4]\nglobular: 2\nignore:\nsurface:\n  - 0\n  - 1\nempty_one: []\nlarge: [3]\n"
    found = groups(tmp_path, text)
    assert found.names == ("globular", "surface", "large")
    assert found.label_names == ("background", "globular", "surface", "large")
    assert found.of_cluster.tolist() == [2, 2, 1, 3, 0]
    rows = found.of_rows(np.array([4, -1, 3, 0]))
    assert rows.tolist() == [0, -1, 3, 2]


def test_one_group_only(tmp_path):
    assert groups(tmp_path, "all: [0, 1]", 2).of_cluster.tolist() == [1, 1]


def test_a_cluster_that_is_not_there(tmp_path):
    line = refused(tmp_path, "surface: [0, 1, 5]\nignore: [2, 3, 4]")
    assert "surface names cluster 5, which is not there: clusters are 0 to 4" in line
    assert "names cluster -1" in refused(tmp_path, "surface: [-1, 0]")


def test_clusters_in_no_group(tmp_path):
    assert "in no group: 1, 3 of 5 clusters" in refused(tmp_path, "surface: [0]\nignore: [2, 4]")
    assert "0, 1, 2, 3, 4, 5, 6, 7 and 91 more of 100" in refused(tmp_path, "surface: [99]", 100)


def test_clusters_in_two_groups(tmp_path):
    line = refused(tmp_path, "surface: [0, 1]\nignore: [0, 1, 2, 3, 4]")
    assert "0 under surface and ignore, 1 under surface and ignore; leave each in one group" in line
    assert "0 under surface and surface" in refused(tmp_path, "surface: [0, 0]\nignore: [1, 2, 3, 4]")


@pytest.mark.parametrize(
    "text, words",
    [
        ("surface: [0, one]", "line 1: surface holds one, expected numbers of clusters"),
        ("surface: [0, 1.5]", "surface holds 1.5"),
        ("surface: [[0]]", "surface holds something nested"),
        ("ignore: [1]\nsurface: [0]\nsurface: [2]", "line 3: the group surface stands there twice"),
        ("ignore: [1]\nSurface: [0]\nsurface: [2]", "line 3: the group surface stands there twice"),
        ("../up: [0]", "'../up' is no name of a group"),
        ("'': [0]", "'' is no name of a group"),
        ("surface: [0", "is not YAML"),
        ("- 0\n- 1", "expected lines such as surface"),
        ("", "expected lines such as surface"),
    ],
)
def test_what_is_no_list_of_groups(tmp_path, text, words):
    assert words in refused(tmp_path, text)


def test_bytes_and_a_missing_file(tmp_path):
    path = tmp_path / "groups.yaml"
    with pytest.raises(ZooError, match="groups.yaml"):
        read_groups(path, 3)
    path.write_bytes(b"surface: [0]\xff")
    with pytest.raises(ZooError, match="byte 12 is not text"):
        read_groups(path, 3)


def test_more_groups_than_labels(tmp_path):
    text = "\n".join(f"g{number}: [{number}]" for number in range(128))
    assert "128 groups, expected at most 127" in refused(tmp_path, text, 128)
