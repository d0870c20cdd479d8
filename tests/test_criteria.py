"""A criterion's words are its template with the thresholds' numbers, as they are printed."""

import pytest

from tests.test_table import document, load
from weightdecay.criteria import rendered
from weightdecay.errors import ConfigError

WORDS = {"source": "S1", "kind": "stated", "fixed": "before", "statement": "It falls."}
NUMBERS = {"share": 0.2, "low": -1.25, "count": 25000.0, "tiny": 1e-5, "one": 1.0, "fewer": -0.01, "loss": 1.05}


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("≥ {share}", "≥ .2"),
        ("≥ {share:.2f}", "≥ .20"),
        ("≤ {share:.0%} of it", "≤ 20 % of it"),
        ("within [{low}, {fewer}]", "within [−1.25, −.01]"),
        ("{fewer:|} below", ".01 below"),
        ("{count:,} steps", "25,000 steps"),
        ("eps = {tiny}", "eps = 1e-5"),
        ("{share:.0e}", "2e-1"),
        ("> {one}, ≤ {loss} ×", "> 1, ≤ 1.05 ×"),
        ("{{w}} of none", "{w} of none"),
    ],
)
def test_numbers_are_written_as_in_print(template, words):
    assert rendered(template, NUMBERS) == words


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("≥ {shar}", "must name thresholds in braces, and 'shar' is none (did you mean share?)"),
        ("≥ {}", "must name thresholds in braces, and '' is none (known are share, "),
        ("≥ {share.real}", "must name thresholds in braces, and 'share.real' is none (did you mean share?)"),
        ("≥ {share!r}", "must name thresholds in braces, and 'share!r' is none (did you mean share?)"),
        ("≥ {share:999999999f}", "must have ',', '.2f', '.0%' or '.0e' after a threshold's name, and '999999999f' is"),
        ("≥ {share", "must have a threshold's name in every pair of braces"),
    ],
)
def test_a_template_that_names_no_threshold_is_refused(tmp_path, template, said):
    with pytest.raises(ValueError) as caught:
        rendered(template, NUMBERS)
    assert str(caught.value).startswith(said)
    words = {**WORDS, "criterion": template, "thresholds": NUMBERS}
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, document(criteria={"A1": words}))
    assert "config.yaml: criteria.A1.criterion is " in str(refused.value) and said in str(refused.value)


def test_load_config_gives_the_words(tmp_path):
    words = {**WORDS, "criterion": "Fall ≥ {fall:.2f}.", "thresholds": {"fall": 0.5}}
    assert load(tmp_path, document(criteria={"A1": words})).criteria["A1"].criterion == "Fall ≥ .50."
