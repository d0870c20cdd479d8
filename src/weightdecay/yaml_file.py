"""Reads a YAML file as plain values: text, integers, decimal numbers, true and false, null, lists, and mappings.

YAML has more features than a configuration needs, and its versions disagree. So anything that some reader could take
for something else is refused: tags, dates, `yes` and `no`, 010 and 1:30 (octal and base 60 in YAML 1.1), and repeated
keys. So is anything that could grow without limit: deep nesting, and aliases of aliases of aliases. Tags are never
followed, so no file can run code.
"""

import copy
import math
import re
import stat
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import yaml

from weightdecay.errors import ConfigError
from weightdecay.refusals import short

# Limits. Our own files have at most 25 kB, 7 levels, 4,000 values and texts of 700 characters.
LARGEST_FILE = 256 * 1024
DEEPEST = 16
MOST_VALUES = 100_000  # counting an alias as all the values that it stands for
LONGEST_KEY = 64
LONGEST_TEXT = 4_000
LONGEST_NUMBER = 40

NULL = {"", "~", "null", "Null", "NULL"}
TRUTH = {word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
DECIMAL = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")  # 1e-3 too, which YAML 1.1 reads as text
NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF|nan|NaN|NAN)")  # the schema refuses it, and names the key
KINDS = {"timestamp": "a date", "bool": "true or false", "int": "a number", "float": "a number"}  # by YAML 1.1
UNPRINTABLE = {"Cc", "Cf", "Cs", "Co"}  # control and format characters, halves of characters, private use


def read(path: Path) -> Any:
    """Return the values of the file. ConfigError names the file, and the line if that helps."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe might wait for ever
            raise ConfigError(f"{path} is not a file.")
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > LARGEST_FILE:
        raise ConfigError(f"{path} has more than {LARGEST_FILE // 1024} KiB, which is the most that is read.")
    return copy.deepcopy(_values(path, content))


@cache
def _values(path: Path, content: bytes) -> Any:
    """Return the values of a file with this content, which a process may read several times."""
    try:
        text = content.decode("utf-8-sig")
        return _Reader(path, text).document()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}, line {line}, is not YAML: it is not UTF-8 text.") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{path}, line {line}, is not YAML: it has a character that is not allowed.") from error


class _Reader:
    """Makes values from the events of PyYAML's parser, and checks each event as it comes."""

    def __init__(self, path: Path, text: str):
        self.path = path
        self.loader = yaml.SafeLoader(text)
        self.anchors: dict[str, tuple[Any, int]] = {}  # the value, and the number of values in it
        self.count = 0

    def document(self) -> Any:
        self.next()
        event = self.next()
        if isinstance(event, yaml.StreamEndEvent):
            return None
        value = self.value(self.next(), 1)
        self.next()
        event = self.next()
        if not isinstance(event, yaml.StreamEndEvent):
            self.refuse(event, "a second document begins")
        return value

    def next(self) -> yaml.Event:
        try:
            return self.loader.get_event()
        except yaml.MarkedYAMLError as error:
            where = f", line {error.problem_mark.line + 1}," if error.problem_mark else ""
            raise ConfigError(f"{self.path}{where} is not YAML: {short(error.problem, str)}.") from error
        except (ValueError, OverflowError) as error:  # such as "\UFFFFFFFF", or a version of 5,000 digits
            where = f"{self.path}, line {self.loader.line + 1},"
            raise ConfigError(f"{where} is not YAML: a character or number is too large.") from error

    def refuse(self, event: yaml.Event, what: str) -> NoReturn:
        raise ConfigError(f"{self.path}, line {event.start_mark.line + 1}: {what}.")

    def value(self, event: yaml.Event, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                self.refuse(event, f"*{short(event.anchor, str)} is not defined before it is used")
            value, size = self.anchors[event.anchor]
            self.add(size, event)
            return value
        if depth > DEEPEST:
            self.refuse(event, f"lists and mappings are nested deeper than {DEEPEST} levels")
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!", 1)
            self.refuse(event, f"the tag {short(tag, str)} is not allowed")
        before = self.count
        self.add(1, event)
        if isinstance(event, yaml.MappingStartEvent):
            value = self.mapping(depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = []
            while not isinstance(item := self.next(), yaml.SequenceEndEvent):
                value.append(self.value(item, depth + 1))
        else:
            value = self.scalar(event)
        if event.anchor is not None:
            if event.anchor in self.anchors:
                self.refuse(event, f"&{short(event.anchor, str)} is defined a second time")
            self.anchors[event.anchor] = value, self.count - before
        return value

    def add(self, size: int, event: yaml.Event) -> None:
        self.count += size
        if self.count > MOST_VALUES:
            self.refuse(event, f"the file holds more than {MOST_VALUES:,} values, aliases written out")

    def mapping(self, depth: int) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: list[dict[str, Any]] | None = None
        while not isinstance(event := self.next(), yaml.MappingEndEvent):
            if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
                if merged is not None:
                    self.refuse(event, "<< is given twice")
                merged = self.value(self.next(), depth + 1)
                merged = merged if isinstance(merged, list) else [merged]
                if not all(isinstance(one, dict) for one in merged):
                    self.refuse(event, "<< is not followed by a mapping or a list of mappings")
                continue
            key = self.key(event)
            if key in own:
                self.refuse(event, f"{short(key)} is given twice")
            own[key] = self.value(self.next(), depth + 1)
        value: dict[str, Any] = {}
        for one in reversed(merged or []):  # earlier mappings override later ones, and own keys override all
            value |= one
        return value | own

    def key(self, event: yaml.Event) -> str:
        if isinstance(event, yaml.ScalarEvent) and event.tag is None and event.anchor is None:
            key = self.scalar(event)
            if isinstance(key, str) and key and len(key) <= LONGEST_KEY:
                return key
        self.refuse(event, f"a key is not text of 1 to {LONGEST_KEY} characters")

    def scalar(self, event: yaml.ScalarEvent) -> Any:
        text = event.value
        if not event.implicit[0]:  # quoted text, or a block of text
            return self.text(event)
        if text in NULL:
            return None
        if text in TRUTH:
            return TRUTH[text]
        kind = self.version_1_1(text)
        if INTEGER.fullmatch(text) or (DECIMAL.fullmatch(text) and kind != "int") or NOT_FINITE.fullmatch(text):
            return self.number(event)
        if kind != "str":
            taken = f"some YAML readers take {short(text, str)} for {KINDS.get(kind, 'something else than text')}"
            digits = ", or write a number in base 10" if kind in ("int", "float") else ""
            self.refuse(event, f"{taken}: put it in quotes{digits}")
        return self.text(event)

    def number(self, event: yaml.ScalarEvent) -> int | float:
        text = event.value
        if len(text) > LONGEST_NUMBER:
            self.refuse(event, f"{short(text, str)} is a number of more than {LONGEST_NUMBER} characters")
        if INTEGER.fullmatch(text):
            return int(text)
        if NOT_FINITE.fullmatch(text):
            return float(text.replace(".", "", 1))
        number = float(text)
        if math.isinf(number):
            self.refuse(event, f"{short(text, str)} is a larger number than can be held")
        return number

    def version_1_1(self, text: str) -> str:
        """Return the type that YAML 1.1 gives to a plain text: str, bool, int, float, timestamp, ..."""
        return self.loader.resolve(yaml.ScalarNode, text, (True, False)).rpartition(":")[2]

    def text(self, event: yaml.ScalarEvent) -> str:
        text = event.value
        if len(text) > LONGEST_TEXT:
            self.refuse(event, f"a text has more than {LONGEST_TEXT:,} characters")
        if any(unicodedata.category(character) in UNPRINTABLE for character in text if character not in "\n\t"):
            self.refuse(event, "a text has a character that cannot be printed")
        return text
