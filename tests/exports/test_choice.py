"""Which level of a result is meant."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from results import descent, made

from sdd_core import SddError, group, recommend
from sdd_core.analysis.recommendation import with_recommendation
from sdd_core.exports.choose import choose_level

CURVE = [0.8, 0.7, 0.75, 0.85, 0.85, 0.3]
"""The test accuracy of six levels with 0, 20, 36, 48.8, 59.0 and 67.2 % sparsity."""


@pytest.mark.parametrize(("sparsity", "level"), [
    (0.0, 0), (0.09, 0), (0.11, 1), (0.36, 2), (0.5, 3), (0.63, 4), (0.64, 5), (0.7, 5), (0.8, 5),
])
def test_the_nearest_level(sparsity, level):
    assert made(CURVE).at(sparsity).level == made(CURVE).at(sparsity=sparsity).level == level


@given(st.lists(st.floats(0, 0.999), min_size=1, max_size=9), st.floats(0, 1))
def test_no_level_is_nearer_and_none_far_away_is_returned(sparsities, asked):
    run = made([0.5] * len(sparsities), sparsity=sorted(sparsities))
    nearest = min(run.levels, key=lambda level: abs(level.sparsity - asked))
    if nearest.density / 2 <= 1 - asked <= nearest.density * 2:
        found = run.at(asked)
        assert abs(found.sparsity - asked) == abs(nearest.sparsity - asked)
        assert found.level == min(level.level for level in run.levels
                                  if level.sparsity == found.sparsity)
    else:
        with pytest.raises(SddError, match="has no level near"):
            run.at(asked)


def test_where_no_level_is_near_the_levels_are_listed():
    with pytest.raises(SddError, match=r"run by-hand has no level near 95\.0 % sparsity; its last "
                       r"levels have 36\.0 %, 48\.8 %, 59\.0 %, 67\.2 %"):
        made(CURVE).at(0.95)


@pytest.mark.parametrize("sparsity", [95, -0.1, 1.01, math.nan, math.inf])
def test_a_sparsity_is_a_fraction(sparsity):
    with pytest.raises(SddError, match=r"is not a fraction from 0 to 1; for 95 % write 0\.95"):
        made(CURVE).at(sparsity)


def test_levels_that_diverged_are_passed_over():
    run = made([0.8, math.nan, 0.7])
    assert run.at(0.2).level == 2
    assert run.best.level == 0


def test_the_best_level_is_the_sparsest_of_equals():
    assert made(CURVE).best.level == 4
    with pytest.raises(SddError, match="run by-hand has no trained level yet"):
        _ = made([math.nan]).best


def test_the_recommended_level_is_that_of_recommend():
    run = with_recommendation(descent())
    assert run.recommended.level == recommend(*group([run])).level
    assert run == descent()


def test_without_a_measurement_nothing_is_recommended():
    run = with_recommendation(made(CURVE))
    for level in run.levels:
        del level.metrics["test_accuracy"]
    with pytest.raises(SddError, match="has no recommended level, because neither test accuracy"):
        _ = run.recommended
    with pytest.raises(SddError, match="has no test accuracy"):
        _ = run.best


@pytest.mark.parametrize(("words", "level"), [
    (3, 3), ("3", 3), (" 0 ", 0), ("best", 4), ("50%", 3), ("48.8 %", 3), ("0%", 0),
])
def test_a_level_in_words(words, level):
    assert choose_level(with_recommendation(made(CURVE)), words).level == level


@pytest.mark.parametrize(("words", "message"), [
    (6, "has no level 6; it has levels 0 to 5; for a sparsity write"),
    (-1, "has no level -1; it has levels 0 to 5"),
    ("95", "has no level 95; it has levels 0 to 5; for a sparsity write, for example, 95%"),
    ("half", "level 'half' is unknown; expected a level's number, recommended, best, or a"),
    ("", "level '' is unknown"), ("%", "level '%' is unknown"), ("nan%", "level 'nan%' is unknown"),
    ("1.5", "level '1.5' is unknown"), ("120%", "is not a fraction from 0 to 1"),
    ("99%", "has no level near 99.0 % sparsity"),
])
def test_a_level_that_there_is_not(words, message):
    with pytest.raises(SddError) as told:
        choose_level(made(CURVE), words)
    assert message in str(told.value)


@pytest.mark.parametrize("words", [0, "best", "recommended", "50%"])
def test_a_run_without_levels(words):
    with pytest.raises(SddError, match=r"run by-hand has no (finished|trained) level yet; `sdd"):
        choose_level(with_recommendation(made([])), words)


@given(st.text(max_size=8))
def test_any_words_give_a_level_or_one_line(words):
    message = ""
    try:
        level = choose_level(made(CURVE), words)
    except SddError as error:
        message = str(error)
    assert message.isprintable()
    assert message or level in made(CURVE).levels
