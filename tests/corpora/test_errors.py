# SPDX-License-Identifier: Apache-2.0
import pickle

from voxadapt.recipes.corpora.errors import SHOWN_PROBLEMS, DataError, did_you_mean, some_of


def test_message_is_headline_and_problems():
    error = DataError("the manifest has 2 problems:", ["line 2: a", "line 3: b"])
    assert str(error) == "the manifest has 2 problems:\n  - line 2: a\n  - line 3: b"
    assert isinstance(error, ValueError)


def test_headline_alone():
    assert str(DataError("nothing there.")) == "nothing there."
    assert DataError("nothing there.").problems == []


def test_long_list_is_cut_in_the_message_and_whole_in_the_error():
    problems = [f"line {line}" for line in range(1_500)]
    error = DataError("many:", problems)
    lines = str(error).splitlines()
    assert len(lines) == 1 + SHOWN_PROBLEMS + 1
    assert lines[-1] == "  and 1,480 more"
    assert error.problems == problems


def test_exactly_as_many_as_shown_needs_no_more():
    assert "more" not in str(DataError("x:", ["p"] * SHOWN_PROBLEMS))


def test_survives_pickling_between_processes():
    error = pickle.loads(pickle.dumps(DataError("headline", ["problem"])))
    assert (error.headline, error.problems) == ("headline", ["problem"])


def test_did_you_mean_ignores_case_and_keeps_the_spelling():
    assert did_you_mean("lable", ["path", "Label"]) == "; did you mean 'Label'?"
    assert did_you_mean("zzz", ["path", "label"]) == ""
    assert did_you_mean("label", []) == ""


def test_some_of_names_few_and_counts_the_rest():
    assert some_of(["a", "b"]) == "'a', 'b'"
    assert some_of(list("abcdefg"), shown=3) == "'a', 'b', 'c' and 4 more"
