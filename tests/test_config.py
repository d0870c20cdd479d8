"""A configuration is accepted as it is written, or refused in one sentence: file, key, value, what is allowed."""

import copy
import datetime
import json
import math
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_table import DEFAULTS, SCALE, UNSAID, document, load, scales
from weightdecay.config import Config, blocks, load_config, scale_of, scales_of
from weightdecay.errors import ConfigError
from weightdecay.run import Run
from weightdecay.setting_types import MOST_RUNS
from weightdecay.table import table_of

CONFIGS = sorted(Path(__file__).parents[1].glob("experiments/*/config.yaml"))
CRITERION = {**UNSAID, "statement": "It falls.", "criterion": "Fall > 0.", "thresholds": {"fall": 0.0}}
OUTSIDE = ("../../../README", "..", ".", "a/b", "/etc/passwd", "a\\b", "~", "", "_a", "a-b", "a b", "ä", "a.b", "a\n")
OUTSIDE += ("a" * 65, "$(id)", "{x}", "*", "-rf", "a\u0301", "а")  # the last is Cyrillic


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("key", ["unread", "unrounded", "sources"])
def test_a_name_that_is_no_name_is_refused_wherever_it_stands_in_a_list(tmp_path, key, name):
    with pytest.raises(ConfigError, match=rf"config\.yaml: {key}\.1 is .*, but must be a name: "):
        load(tmp_path, document(**{key: ["a", name]}))


@pytest.mark.parametrize("name", [name for name in OUTSIDE if name])
def test_a_name_that_is_no_name_is_refused_wherever_it_is_a_key(tmp_path, name):
    named = {
        "experiment": {"experiment": name},
        "scales.smoke.sweeps": {"scales": scales({}, sweeps={name: [{}]})},
        "scales.smoke.computations": {"scales": scales({}, computations={name: {}})},
        "criteria": {"criteria": {name: CRITERION}},
        "criteria.A1.thresholds": {"criteria": {"A1": {**CRITERION, "thresholds": {name: 1.0}}}},
    }
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "compute.py").touch()
    for key, changes in named.items():
        with pytest.raises(ConfigError, match=rf"config\.yaml: {re.escape(key)}|a key is not text|, line"):
            load(tmp_path, document(**changes))


@pytest.mark.parametrize("id", ["D100", "X", "AB1", "A0", "A01", "a1", "1", "A1b", "A-1", "Ä1", "A1 "])
def test_a_claim_s_id_is_one_capital_letter_and_a_number_from_1_to_99(tmp_path, id):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, document(criteria={id: CRITERION}))
    assert str(caught.value).endswith(
        f"criteria.{' '.join(id.split())} must be a claim's id: one capital letter and a number from 1 to 99."
    )


def test_a_claim_s_id_may_be_any_of_those(tmp_path):
    ids = [f"{letter}{number}" for letter in "AZ" for number in (1, 9, 10, 21, 99)]
    assert list(load(tmp_path, document(criteria=dict.fromkeys(ids, CRITERION))).criteria) == ids


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sources": ["loss", "Loss"]}, "sources is ['loss', 'Loss'], but must not hold both 'loss' and 'Loss'"),
        ({"unread": ["loss", "loss"]}, "unread is ['loss', 'loss'], but must not hold both 'loss' and 'loss'"),
        ({"sources": []}, "sources is [], but must have at least 1 item"),
        ({"sources": "abc"}, "sources is 'abc', but must be a valid list"),
        ({"experiment": "overview"}, "experiment is 'overview', but must be another name than logs and overview"),
        (
            {"scales": scales({}, sweeps={"main": [{}], "Main": [{}]})},
            "but must not hold both 'main' and 'Main' (a sweep is a list of blocks, and a block a product: each",
        ),
        (
            {"scales": scales({}, computations={"history": {}})},
            "scales.smoke.computations.history has the name of a table of training",
        ),
        ({"scales": scales({}, computations=5)}, "scales.smoke.computations is 5, but must be a valid dict"),
        (
            {"scales": {"smoke": {"seeds": 1, "sweep": {}}}},
            "config.yaml: scales.smoke.sweep is not a known key (did you mean sweeps?).",
        ),
        (
            {"criteria": {"A1": {**CRITERION, "thresholds": {"fall": float("nan")}}}},
            "criteria.A1.thresholds.fall is nan, but must be a finite number",
        ),
        (
            {"criteria": {"A1": {**CRITERION, "thresholds": {"fall": 1e31}}}},
            "criteria.A1.thresholds.fall is 1e+31, but must be a number from -1e+30 to 1e+30",
        ),
    ],
)  # fmt: skip
def test_names_that_would_meet_in_one_file_are_refused(tmp_path, changes, said):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, document(**changes))
    assert said in str(caught.value)


def test_a_key_that_was_meant_is_suggested(tmp_path):
    with pytest.raises(ConfigError, match=r"scales\.smoke\.sweep is not a known key \(did you mean sweeps\?\)"):
        load(tmp_path, document(scales=scales({}, sweep={})))
    with pytest.raises(ConfigError, match=r"criteria\.A1\.sorce is not a known key \(did you mean source\?\)"):
        load(tmp_path, document(criteria={"A1": {**CRITERION, "sorce": "S1"}}))


def test_all_faults_of_a_first_configuration_are_said_at_once_the_most_telling_first(tmp_path):
    """A dozen mistakes, one of them in a default that every block of every scale has, and what follows from none."""
    lacking = {key: value for key, value in DEFAULTS.items() if key not in ("optimizer", "weight_decay")}
    blocks = [{"learning_rate": -1.0}, {"steps": 0}, {"seeds": 3}]
    content = document(
        experiment="blob",
        titel="Blobs",
        defaults={**lacking, "weigth_decay": 0.1, "width": "wide"},
        scales={"smoke": {"seed": 3, "sweep": {}}, "laptop": {"seeds": 0, "sweeps": {"main": blocks}}, "papers": 1},
        criteria={"A1": {**UNSAID, "criterion": "Fall > {fal}.", "thresholds": {"fall": 0.0}}},
    )
    del content["title"]
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, content)
    first, *said = str(caught.value).split("\n  ")
    assert first == f"{tmp_path / 'blobs' / 'config.yaml'} has {len(said)} faults:"
    said = [re.sub(r" \((?!did).*\)", "", line) for line in said]
    assert said == [
        "scales.smoke.seed is not a known key (did you mean seeds?).",
        "scales.smoke.sweep is not a known key (did you mean sweeps?).",
        "scales.papers is not a known key (did you mean paper?).",
        "titel is not a known key (did you mean title?).",
        "defaults: weigth_decay is not a setting of a run (did you mean weight_decay?).",
        "scales.laptop.sweeps.main[2]: seeds is not a setting of a run (did you mean seed?).",
        "scales.laptop.seeds is 0, but must be an integer from 1 to 1000000.",
        "criteria.A1.criterion is 'Fall > {fal}.', but must name thresholds in braces, and 'fal' is none (did you mean "
        "fall?).",
        "experiment is 'blob', but must be the name of its folder, 'blobs'.",
        "defaults: width is 'wide', but must be a valid integer.",
        "scales.laptop.sweeps.main[0]: learning_rate is -1.0, but must be a number from 1e-30 to 1e+30.",
        "scales.laptop.sweeps.main[1]: steps is 0, but must be an integer from 1 to 1000000000.",
        "criteria.A1.statement is missing.",
        "scales.laptop.sweeps.main[0] and 2 more: optimizer is missing.",
    ]


def test_no_more_faults_are_listed_than_one_reads(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, document(**{f"key{number}": 1 for number in range(30)}))
    lines = str(caught.value).split("\n  ")
    assert lines[0].endswith("has 30 faults:") and lines[-1] == "and 10 more." and len(lines) == 22


def test_smoke_is_the_one_scale_that_is_needed(tmp_path):
    config = load(tmp_path, document())
    assert list(scales_of(config)) == ["smoke"] and scale_of(config, "smoke").shards == 2
    with pytest.raises(ConfigError, match=r"^finding blobs has no scale paper, but only smoke\.$"):
        table_of(config, "paper")
    scale = {"seeds": 2, "sweeps": SCALE["sweeps"]}
    assert scale_of(load(tmp_path, document(scales={"smoke": scale, "paper": SCALE})), "smoke").shards == 1


def test_configurations_are_checked_without_what_trains():
    """Names and rules of networks, losses and optimisers included: whoever plans waits for neither torch nor Numba."""
    code = "import sys; from weightdecay.config import load_config; [load_config(path) for path in sys.argv[1:]]; "
    code += "print({'torch', 'numba', 'numpy'} & {*sys.modules})"
    assert subprocess.check_output([sys.executable, "-c", code, *CONFIGS], text=True) == "set()\n"


def test_a_link_to_a_finding_is_no_second_one_of_the_same_name(tmp_path):
    load(tmp_path, document())
    (tmp_path / "others").symlink_to("blobs")
    with pytest.raises(ConfigError, match=r"experiment is 'blobs', but must be the name of its folder, 'others'\.$"):
        load_config(tmp_path / "others" / "config.yaml")
    load_config(tmp_path / "others" / ".." / "blobs" / "config.yaml")


# What a setting, a key or a whole part of a configuration may be replaced with.
HOSTILE = [
    *(None, True, False, 0, 1, -1, 2, 3, 1e-3, 0.5, 1.0, 1e300, -1e300, 1e-300, float("inf"), float("nan"), -0.0),
    *(10**9, 10**18, 10**31, 10**39, -(10**31), 2**31, 2**63),
    *("", " ", "yes", "none", "null", "nan", "1e-3", "~", "a", "A1", "D21", "../../etc", "/", "a\nb", "λ", "x" * 70),
    *(
        "x" * 5000,
        "{y}",
        "%n",
        "\\input{x}",
        "\x00",
        "\ud800",
        "\u202e",
        "2024-13-45",
        "sgd",
        "adam",
        "l1",
        "cnn",
        "mlp",
    ),
    *([], [[]], [1, 2], [None], ["a", "a"], ["a", "A"], [0.1] * 3, list(range(150)), [[1, 2], [3]], ["x" * 50] * 50),
    *({}, {"a": 1}, {"a": {"b": {"c": {}}}}, {"": 1}, {"../x": 1}, {"A1": CRITERION}, {1: 2}, {None: None}, {"<<": 1}),
    *(datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1, 12), {1, 2}, b"bytes", SCALE, DEFAULTS),
]
KEYS = [
    "",
    "a",
    "A1",
    "Z20",
    "D21",
    "seed",
    "seeds",
    "sweep",
    "runs",
    "width",
    "weight_decay",
    "../x",
    "x" * 70,
    1,
    None,
]
KEYS += ["experiment", "l1_ratio", "computations", "thresholds", "<<", "yes", "a\nb", 2.5]
BYTES = [
    b"[",
    b"]",
    b"{",
    b"}",
    b"\t",
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b"&a ",
    b"*a",
    b"<<: *a",
    b"!!python/name:os.system ",
]
BYTES += [
    b"!!bool ",
    b"|\n",
    b">",
    b'"',
    b"'",
    b"? ",
    b": ",
    b"- ",
    b"---\n",
    b"...\n",
    b"%YAML 9.9\n",
    b"#",
    b"0o7",
    b"1:30",
]
BYTES += [
    b"9" * 5000,
    b"[" * 300,
    b"\n",
    b"\r",
    b"\xe2\x80\xa8",
    b"2024-01-01",
    b"yes",
    b"~",
    b"\\",
    b'"\\UFFFFFFFF"',
    b"1e999",
]
BYTES += ["a".encode("utf-16")]


def places(value, parent=None) -> Iterator[tuple]:
    """(container, key) of every value inside a value."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield value, key
        yield from places(child)


def mutated(content: dict, draw: random.Random) -> dict:
    """The same with one to three changes: a value replaced, left out, doubled, moved or nested; a key renamed."""
    content = copy.deepcopy(content)
    for _ in range(draw.choice([1, 1, 2, 3])):
        everywhere = list(places(content))
        if not everywhere:
            break
        holder, key = draw.choice(everywhere)
        change = draw.randrange(7)
        if change <= 1:
            holder[key] = copy.deepcopy(draw.choice(HOSTILE))
        elif change == 2:
            del holder[key]
        elif change == 3:
            other, its = draw.choice(everywhere)
            holder[key] = copy.deepcopy(other[its])
        elif change == 4 and isinstance(holder, dict):
            pairs = [(draw.choice(KEYS) if one == key else one, value) for one, value in holder.items()]
            holder.clear()
            holder.update(pairs)
        elif change == 5:
            for _ in range(draw.choice([1, 2, 20])):
                holder[key] = draw.choice([[holder[key]], {"a": holder[key]}])
        elif isinstance(holder, list):
            holder.append(holder[key])
        else:
            holder[draw.choice(KEYS)] = copy.deepcopy(holder[key])
    return content


def garbled(text: bytes, draw: random.Random) -> bytes:
    """The same with one to three changes: bytes flipped, put in, taken out; lines doubled or moved; the end lost."""
    for _ in range(draw.choice([1, 1, 2, 3])):
        at, change = draw.randrange(len(text) + 1), draw.randrange(6)
        if change == 0:
            text = text[:at] + bytes([draw.randrange(256)]) + text[at + 1 :]
        elif change == 1:
            text = text[:at] + draw.choice(BYTES) + text[at:]
        elif change == 2:
            text = text[:at] + text[at + draw.choice([1, 2, 10, 100]) :]
        elif change == 3:
            text = text[:at]
        else:
            lines = text.splitlines(keepends=True) or [b""]
            line = draw.choice(lines)
            if change == 4:
                lines.remove(line)
            lines.insert(draw.randrange(len(lines) + 1), draw.choice([b"", b" ", b"  "]) + line)
            text = b"".join(lines)
    return text


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    def stop(*_):
        raise TimeoutError(f"more than {seconds} s to read a configuration")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(folder: Path, text: bytes) -> Config | None:
    """What is read of a file: a configuration that keeps all promises, or None where one sentence refuses it."""
    path = folder / "config.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    (folder / "compute.py").touch()
    try:
        with at_most(20):
            config = load_config(path)
    except ConfigError as error:
        said = str(error).replace(str(folder), "").split("\n  ")
        for line in said if len(said) == 1 else said[1:]:
            assert len(line) <= 400 and line.isprintable() and REFUSAL.fullmatch(line), line
        assert len(said) == 1 or re.fullmatch(r"/config\.yaml has \d+ faults:", said[0])
        return None
    for scale, asked in scales_of(config).items():
        for name in (*asked.sweeps, *asked.computations):
            assert re.fullmatch(r"\w+", name, re.ASCII)
        for arguments in asked.computations.values():
            json.dumps(arguments, allow_nan=False)
        rows = sum(len(block.seeds) * math.prod(map(len, block.choices.values())) for block in blocks(config, scale))
        assert rows <= MOST_RUNS
        if rows <= 300:
            for run in table_of(config, scale):
                assert Run(**run.model_dump()) == run
    return config


SMALL = document(
    unread=["loss"],
    scales=scales(SCALE["sweeps"]["main"][0], computations={"squares": {"count": 3, "of": [1.0, 2.0]}}),
)
REFUSAL = re.compile(
    r"(/config\.yaml, line \d+(, is not YAML)?: .+"
    r"|(/config\.yaml:? )?(\S.* )?(is|are|has|must|needs|asks|would)\b.*|and \d+ more)\."
)
drawn = st.integers(0, 2**64 - 1).map(random.Random)


def test_a_configuration_with_values_changed_is_read_as_it_is_or_refused_in_one_sentence(tmp_path):
    """1,000 changed documents, the same in every run; for others take `derandomize` off, for more raise the number."""
    seen = {True: 0, False: 0}

    @settings(max_examples=1000, derandomize=True, database=None)
    @given(drawn)
    def check(draw):
        content = mutated(SMALL, draw)
        text = yaml.dump(content, Dumper=Plain, sort_keys=False, default_flow_style=None, width=200, allow_unicode=True)
        config = outcome(tmp_path / "blobs", text.encode("utf-8", "surrogatepass"))
        if config is not None:  # nothing that stands there is passed over, and nothing is put in its place
            assert config.model_dump(exclude_unset=True) == content
        seen[config is not None] += 1

    check()
    assert seen[True] > 50 and seen[False] > 500  # else the changes are too mild or too wild to tell anything


def test_a_configuration_with_bytes_changed_is_read_or_refused_in_one_sentence(tmp_path):
    """800 changed texts."""
    text = yaml.safe_dump(SMALL, sort_keys=False).encode()
    seen = {True: 0, False: 0}

    @settings(max_examples=800, derandomize=True, database=None)
    @given(drawn)
    def check(draw):
        seen[outcome(tmp_path / "blobs", garbled(text, draw)) is not None] += 1

    check()
    assert seen[True] > 10 and seen[False] > 300


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.parent.name)
def test_every_real_configuration_changed_is_read_or_refused_in_one_sentence(tmp_path, path):
    """30 changed texts and 10 changed documents of each of ours."""
    text = path.read_bytes()
    content = yaml.safe_load(text)
    everything = [*(lambda draw: garbled(text, draw),) * 3, lambda draw: dumped(mutated(content, draw))]

    @settings(max_examples=40, derandomize=True, database=None)
    @given(drawn)
    def check(draw):
        outcome(tmp_path / path.parent.name, draw.choice(everything)(draw))

    check()
    assert outcome(tmp_path / path.parent.name, text) == load_config(path)


def dumped(content: dict) -> bytes:
    return yaml.dump(content, Dumper=Plain, sort_keys=False, width=200, allow_unicode=True).encode(
        "utf-8", "surrogatepass"
    )


class Plain(yaml.SafeDumper):
    """Writes what occurs twice twice, not as an alias."""

    def ignore_aliases(self, data):
        return True


Plain.add_implicit_resolver(  # text that we, unlike YAML 1.1, take for a number is written in quotes
    "tag:yaml.org,2002:float", re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"), list("-+.0123456789")
)
