"""Every key of a configuration explains itself."""

import pytest

from weightdecay.settings_page import PARTS, settings_page


@pytest.mark.parametrize("model", PARTS.values(), ids=lambda model: model.__name__)
def test_every_field_has_an_explanation_in_full_sentences(model):
    for name, field in model.model_fields.items():
        said = field.description or ""
        assert said[:1].isupper() and said.endswith("."), name
        assert len(said.partition(". ")[0]) <= 140, f"{name}: its first sentence stands in errors"


def test_the_page_has_a_row_for_every_key_with_what_it_may_be_and_what_holds_without_it():
    page = settings_page()
    for name in {name for model in PARTS.values() for name in model.model_fields} - {"sweep"}:
        assert f"\n| `{name}` | " in page
    assert "| `eps` | a number from 1e-30 to 1e+30 | `1e-08` | Adam adds eps" in page
    assert "| `decay_exclude` | `nothing` or `bias_and_norm` | `nothing` |" in page
    assert (
        "| `shuffle` | true or false | `true` |" in page and "| `shards` | an integer from 1 to 100000 | `1` |" in page
    )
    assert "| `batch_norm_eps` | a number from 1e-30 to 1e+30 or null | `null` |" in page
    assert "| `log_dense_every` | an integer from 1 to 1000000000 | `log_every` |" in page
    assert "| `learning_rate` | a number from 1e-30 to 1e+30 | needed |" in page
