"""The bootstrap: counts, coverage of intervals, and p values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tagalong.ner.scoring import Counts
from tagalong.training.evaluation.bootstrap import (
    compute_f1,
    compute_p_value,
    compute_resampled_f1,
    percentile_interval,
    resample_counts,
)

counts = arrays.arrays(np.int64, (6, 3, 4), elements=st.integers(0, 9))


@given(st.tuples(*[st.integers(0, 30)] * 4))
def test_f1_of_counts(row):
    assert compute_f1(np.array(row)) == pytest.approx(Counts(*row).f1)


@given(st.tuples(*[st.integers(0, 3)] * 4))
def test_f1_is_undefined_only_without_spans(row):
    found = compute_resampled_f1(np.array([row]))
    assert np.isnan(found) == [not any(row)]
    assert np.isnan(found) or found == compute_f1(np.array([row]))


@given(arrays.arrays(np.float64, 50, elements=st.floats(-1, 1)), st.integers(1, 9))
def test_undefined_resamples_are_ignored(values, count):
    more = np.concatenate([values, np.full(count, np.nan)])
    assert percentile_interval(more).tolist() == percentile_interval(values).tolist()
    assert compute_p_value(0.5, more) == compute_p_value(0.5, values)


def test_all_undefined_resamples_give_zero():
    nothing = np.full((20, 2), np.nan)
    assert percentile_interval(nothing).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    nothing[:, 1] = 1.0
    assert percentile_interval(nothing).tolist() == [[0.0, 1.0], [0.0, 1.0]]
    assert compute_p_value(0.0, np.full(20, np.nan)) == 1.0


@given(counts)
def test_resample_has_the_same_number_of_documents(table):
    table[..., 0] = 1  # each document counts 1 in each cell
    drawn = resample_counts(table, resamples=20, seed=1)
    assert drawn.shape == (20, 3, 4)
    assert (drawn[..., 0] == len(table)).all()
    assert (drawn >= len(table) * table.min(axis=0)).all()
    assert (drawn <= len(table) * table.max(axis=0)).all()


def test_resample_counts_its_documents():
    # Document i counts 10**i in its first cell, so the decimal digits are the draws of each.
    table = np.zeros((6, 1, 4), dtype=np.int64)
    table[:, 0, 0] = 10 ** np.arange(6)
    for drawn in resample_counts(table, resamples=200, seed=0)[:, 0, 0]:
        assert sum(map(int, str(int(drawn)))) == 6


def test_equal_seeds_draw_equal_resamples(monkeypatch):
    table = np.random.default_rng(0).integers(9, size=(40, 2, 4))
    once = resample_counts(table, resamples=50, seed=3)
    assert (resample_counts(table, resamples=50, seed=3) == once).all()
    assert (resample_counts(table, resamples=50, seed=4) != once).any()
    monkeypatch.setattr("tagalong.training.evaluation.bootstrap.MAX_DRAWS_PER_BLOCK", 7 * 40)
    in_blocks = resample_counts(table, resamples=50, seed=3)
    assert in_blocks.shape == once.shape
    assert in_blocks.mean() == pytest.approx(once.mean(), rel=0.05)


def test_resampling_variance_equals_document_variance():
    # The mean of n draws has the known variance s2 / n.
    table = np.random.default_rng(0).integers(50, size=(200, 1, 4))
    means = resample_counts(table, resamples=4000, seed=0)[:, 0, 0] / 200
    assert means.std() == pytest.approx(table[:, 0, 0].std() / np.sqrt(200), rel=0.05)


def test_single_document_has_no_variance():
    drawn = resample_counts(np.array([[[3, 3, 1, 2]]]), resamples=10)
    low, high = percentile_interval(compute_f1(drawn))
    assert low == high == Counts(3, 3, 1, 2).f1


def test_no_documents_have_zero_counts():
    assert (resample_counts(np.zeros((0, 2, 4), dtype=int), resamples=5) == 0).all()


def test_interval_has_the_middle_95_percent():
    assert percentile_interval(np.arange(1001.0)).tolist() == [25.0, 975.0]


@given(st.floats(-1, 1), arrays.arrays(np.float64, 50, elements=st.floats(-1, 1)))
def test_p_is_two_sided_and_positive(difference, resampled):
    p = compute_p_value(difference, resampled)
    assert 1 / 51 <= p <= 1
    assert compute_p_value(-difference, -resampled) == p


def test_equal_systems_have_p_1_and_different_ones_a_small_p():
    assert compute_p_value(0.0, np.zeros(99)) == 1.0
    assert compute_p_value(0.5, np.full(99, 0.5)) == 1 / 100


def test_p_is_uniform_under_the_null_hypothesis():
    # Two systems with 80 % random correct spans: p is below 0.1 in about one of ten cases.
    chance = np.random.default_rng(0)
    low = 0
    for trial in range(200):
        right = chance.binomial(10, 0.8, size=(60, 2))
        table = np.stack([right, right, 10 - right, 10 - right], axis=-1)
        drawn = compute_f1(resample_counts(table, resamples=200, seed=trial))
        ones, others = compute_f1(table.sum(axis=0))
        low += compute_p_value(ones - others, drawn[:, 0] - drawn[:, 1]) <= 0.1
    assert 8 <= low <= 36
