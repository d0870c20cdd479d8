"""What tests/conftest.py says of the tests is true."""


def test_every_test_that_begins_first_is_there(lacking):
    """A test was renamed, say: its name in LONG would do nothing. A part of the tests may lack some."""
    assert lacking == []
