"""The particle table: columns, selection, identity."""

from __future__ import annotations

import typing

import numpy as np
import pytest

from zoo.data.tables.particle_table import (
    COLUMNS,
    CTF_COLUMNS,
    ParticleTable,
    declared_columns,
    image_uids,
)
from zoo.data.tables.subtomogram_table import SUBTOMOGRAM_COLUMNS, SubtomogramTable
from zoo.errors import ZooError


@pytest.fixture
def table() -> ParticleTable:
    columns = {
        "stack_index": [0, 0, 1, 1],
        "row_in_stack": [0, 9, 0, 99],
        "defocus_u_angstrom": [1e4, 2e4, np.nan, 3e4],
        "voltage_kv": [300.0, 300.0, 300.0, 200.0],
    }
    return ParticleTable(["/a/one.mrcs", "/a/b/two.mrcs"], columns, stack_names=["one.mrcs", "b/two.mrcs"])


def test_unknown_values_have_their_documented_marks(table):
    for name, (dtype, missing) in COLUMNS.items():
        values = getattr(table, name)
        assert values.dtype == dtype and values.shape == (4,), name
        if missing is not None and name not in ("stack_index", "defocus_u_angstrom", "voltage_kv"):
            np.testing.assert_array_equal(values, np.full(4, missing, dtype))


UNITS = {"_deg": "deg", "_angstrom": "angstrom", "_angstrom2": "angstrom^2", "_kv": "kV", "_mm": "mm"}


@pytest.mark.parametrize("kind", [ParticleTable, SubtomogramTable])
def test_columns_are_declared_with_the_unit_that_their_name_ends_with(kind):
    units = {**UNITS, "_voxel": "voxel"}
    for name, column in declared_columns(kind).items():
        ending = "_" + name.rpartition("_")[2]
        assert column.unit == units.get(ending, ""), name


def test_declared_type_of_a_column_is_its_dtype():
    for kind, columns in ((ParticleTable, COLUMNS), (SubtomogramTable, SUBTOMOGRAM_COLUMNS)):
        declared = declared_columns(kind)
        assert list(declared) == list(columns) == list(kind.column_types)
        for name, hint in typing.get_type_hints(kind).items():
            if name in declared:  # numpy.ndarray[shape, numpy.dtype[TYPE]]
                assert typing.get_args(typing.get_args(hint)[1]) == (declared[name].dtype,), name


def test_documentation_lists_every_column(repository):
    text = (repository / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert [name for name in SUBTOMOGRAM_COLUMNS if name not in text] == []


def test_image_names_count_from_one(table):
    assert table.image_names() == [
        "000001@one.mrcs", "000010@one.mrcs", "000001@b/two.mrcs", "000100@b/two.mrcs",
    ]  # fmt: skip


def test_ctf_vector_is_in_the_documented_order(table):
    assert table.ctf().shape == (4, 9)
    for index, name in enumerate(CTF_COLUMNS):
        np.testing.assert_array_equal(table.ctf()[:, index], getattr(table, name))


@pytest.mark.parametrize("indices", [[3, 0], np.array([3, 0]), slice(3, None, -3)])
def test_selection_keeps_rows_together(table, indices):
    chosen = table.select(indices)
    assert len(chosen) == 2 and chosen.stack_paths == table.stack_paths
    for name, values in chosen.columns().items():
        np.testing.assert_array_equal(values, getattr(table, name)[[3, 0]], err_msg=name)


def test_selection_by_mask_and_of_nothing(table):
    assert table.select(np.array([True, False, False, True])).source_row.tolist() == [0, 3]
    assert len(table.select([])) == 0


def test_uids_depend_on_the_image_alone():
    uids = image_uids(["000001@a.mrcs", "000002@a.mrcs", "000001@b.mrcs", "000001@./a.mrcs"])
    assert uids.dtype == np.uint64
    assert len(set(uids.tolist())) == 3 and uids[0] == uids[3]
    assert uids[0] == image_uids(["000001@a.mrcs"])[0]


def test_missing_values_that_are_needed_are_named_by_row(table):
    table.require(["voltage_kv"])
    with pytest.raises(ZooError, match=r"row 3: defocus_u_angstrom is not known \(1 of 4"):
        table.require(["voltage_kv", "defocus_u_angstrom"])


def test_columns_that_do_not_fit_are_refused():
    with pytest.raises(ZooError, match="unequal length"):
        ParticleTable(["a"], {"row_in_stack": [0, 1], "voltage_kv": [300.0]})
    with pytest.raises(ZooError, match="unknown particle column 'voltage'"):
        ParticleTable(["a"], {"voltage": [300.0]})
    with pytest.raises(ZooError, match="stack_index outside 0..0"):
        ParticleTable(["a"], {"stack_index": [0, 1]})


@pytest.mark.parametrize("value", [2**40, -(2**40), 3e9, np.nan])
def test_numbers_that_a_column_cannot_hold_are_refused(value):
    columns = {"stack_index": np.zeros(2, int), "optics_group": np.array([1, value])}
    with pytest.raises(ZooError, match="row 2: optics_group is .*expected a whole number"):
        ParticleTable(["a.mrcs"], columns)
