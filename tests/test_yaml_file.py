"""A configuration is plain YAML: what two readers could read in two ways, or would never finish, is refused."""

import os
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from weightdecay import yaml_file
from weightdecay.errors import ConfigError

CONFIGS = sorted(Path(__file__).parents[1].glob("experiments/*/config.yaml"))
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 12)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 10)}]}}\n" for level in range(1, 12)
)


def read(tmp_path: Path, content: str | bytes):
    path = tmp_path / "config.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return yaml_file.read(path)


class Version12(yaml.SafeLoader):
    """PyYAML's safe loader, to which 1e-3 is a number."""


Version12.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def in_order(value):
    """Mappings as lists of pairs, since the order of settings is the order of the table."""
    if isinstance(value, dict):
        return [(key, in_order(one)) for key, one in value.items()]
    return [in_order(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.parent.name)
def test_every_configuration_reads_as_pyyaml_reads_it(path):
    """With merge keys and anchors, which ours are full of, and in the same order."""
    expected = yaml.load(path.read_text(encoding="utf-8"), Loader=Version12)
    assert in_order(yaml_file.read(path)) == in_order(expected)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False)
    | st.text("aλ: #-0e", max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abz_", min_size=1, max_size=9), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(plain, st.booleans())
def test_plain_values_come_back_as_they_were(tmp_path_factory, value, flow):
    text = yaml.safe_dump(value, default_flow_style=flow, allow_unicode=True, sort_keys=False)
    assert repr(read(tmp_path_factory.getbasetemp(), text)) == repr(value)


def test_the_first_of_several_merged_mappings_counts_and_the_mapping_itself_before_all(tmp_path):
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], z: 3}\n"
    assert read(tmp_path, text)["c"] == {"x": 1, "y": 1, "z": 3}


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("\ufeffa: 1", {"a": 1}),  # with a byte order mark
        ("", None),
        (
            "a: [1e-3, -.5, +2, 1., 0, -0.0, 12345678901234567890]",
            {"a": [1e-3, -0.5, 2, 1.0, 0, -0.0, 12345678901234567890]},
        ),
        ("a: 'yes'\nb: \"2024-01-01\"\nc: none", {"a": "yes", "b": "2024-01-01", "c": "none"}),
        ("a: [true, False, null, ~, ]", {"a": [True, False, None, None]}),
        ("a: 0o17", {"a": "0o17"}),  # text to all: the schema refuses it where a number is wanted
    ],
)
def test_what_is_read(tmp_path, content, value):
    assert repr(read(tmp_path, content)) == repr(value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: 2024-01-01", ", line 1: some YAML readers take 2024-01-01 for a date: put it in quotes."),
        ("a: 2024-13-45", "some YAML readers take 2024-13-45 for a date: put it in quotes."),
        *((f"a: {word}", f"take {word} for true or false: put it in quotes.") for word in ("yes", "no", "Off", "YES")),
        ("\n\n\n\na: on", ", line 5: some YAML readers take on for true or false: put it in quotes."),
        ("a: 010", "take 010 for a number: put it in quotes, or write a number in base 10."),
        *((f"a: {text}", f"take {text} for a number: ") for text in ("0x1F", "1:30", "1_000", "0b11", "-1:3.5")),
        ("a: =", "take = for something else than text: put it in quotes."),
        ("a: !!bool text", ", line 1: the tag !!bool is not allowed."),
        ("a: !!python/object/apply:os.system [id]", "the tag !!python/object/apply:os.system is not allowed."),
        ("a: !!str 5", "the tag !!str is not allowed."),
        ("a: ! 5", "the tag ! is not allowed."),
        ("a: !!set {b}", "the tag !!set is not allowed."),
        (f"a: {'9' * 5000}", "999… is a number of more than 40 characters."),
        (f"a: 1.{'9' * 5000}", "is a number of more than 40 characters"),
        ("a: 1e999", "1e999 is a larger number than can be held."),
        ("a: " + "[" * 2000, "lists and mappings are nested deeper than 16 levels."),
        ("a: " + "[" * 2000 + "]" * 2000, "nested deeper than 16 levels"),
        ("- " * 2000 + "a", "nested deeper than 16 levels"),
        ("{a: " * 2000, "nested deeper than 16 levels"),
        (LAUGHS, "the file holds more than 100,000 values, aliases written out."),
        (MERGES, "the file holds more than 100,000 values"),
        ("a: &a [*a]", ", line 1: *a is not defined before it is used."),
        ("a: *b", ", line 1: *b is not defined before it is used."),
        ("a: &a 1\nb: &a 2", ", line 2: &a is defined a second time."),
        ("a: 1\nb: {c: 1, c: 2}", ", line 2: 'c' is given twice."),
        ("a: {<<: {b: 1}, <<: {c: 1}}", "<< is given twice"),
        ("a: {<<: [1]}", "<< is not followed by a mapping or a list of mappings"),
        ("a: <<", "take << for something else than text"),
        *((f"{key}: 1", "a key is not text of 1 to 64 characters") for key in ("1", "null", "[a]", "''", "a" * 65)),
        ("yes: 1", "take yes for true or false"),
        ("? [a]\n: 1", "a key is not text"),
        ("? !!str a\n: 1", "a key is not text"),
        ("a: 1\n---\nb: 1", ", line 2: a second document begins."),
        ("a: \tb\n\tc: 1", "is not YAML: "),
        ("a: b: c", ", line 1, is not YAML: mapping values are not allowed here."),
        ("a: [", "is not YAML: expected the node content, but found '<stream end>'."),
        ("a: {b", "is not YAML: "),
        ('a: "\\UFFFFFFFF"', ", line 1, is not YAML: a character or number is too large."),
        (f"%YAML {'9' * 5000}.1\n---\na: 1", ", line 1, is not YAML: a character or number is too large."),
        ('a: "\\uD800"', "a text has a character that cannot be printed."),
        ('a: "\\0"', "a text has a character that cannot be printed"),
        ("a: \u202e1", "a text has a character that cannot be printed"),
        (f"a: {'b' * 4001}", "a text has more than 4,000 characters"),
        ("a: 1\nb: \x00", ", line 2, is not YAML: it has a character that is not allowed."),
        ("a: 1\n".encode("utf-16"), ", line 1, is not YAML: it is not UTF-8 text."),
        (b"a: 1\nb: \xff", ", line 2, is not YAML: it is not UTF-8 text."),
        (b"# " + b"x" * 300_000, "has more than 256 KiB, which is the most that is read"),
    ],
)  # fmt: skip
def test_what_is_refused_in_one_short_sentence(tmp_path, content, said):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, content)
    sentence = str(caught.value).replace(str(tmp_path), "")
    assert said in sentence and sentence.startswith(("/config.yaml ", "/config.yaml, line "))
    assert "\n" not in sentence and len(sentence) < 200


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    with pytest.raises(ConfigError, match=r"is not a file\.$"):
        yaml_file.read(tmp_path)
    os.mkfifo(tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match=r"is not a file\.$"):
        yaml_file.read(tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match=r"cannot be read: No such file or directory\.$"):
        yaml_file.read(tmp_path / "none" / "config.yaml")


def test_yaml_that_could_run_code_runs_none(tmp_path):
    with pytest.raises(ConfigError):
        read(tmp_path, f"a: !!python/object/apply:os.mkdir ['{tmp_path}/made']")
    assert not (tmp_path / "made").exists()
