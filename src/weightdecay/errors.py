"""The errors that a user can fix. Each is one sentence that names the file, the key and what is allowed."""

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from weightdecay.surroundings import INTERRUPTED, importing, silence_output

Arguments = ParamSpec("Arguments")
Made = TypeVar("Made")


class WeightDecayError(Exception):
    """The base class of these errors. They are shown as one sentence, never as a traceback."""


class ConfigError(WeightDecayError, ValueError):
    """A configuration, a scale or a finding has a mistake."""


class ResultError(WeightDecayError, ValueError):
    """A result is missing, damaged, made with other settings, or cannot be written."""


class FolderError(WeightDecayError, OSError):
    """Another process holds the working folder, or the folder cannot be written to."""


class DeviceError(WeightDecayError, RuntimeError):
    """This machine does not have the device."""


def reports_user_errors(main: Callable[Arguments, Made]) -> Callable[Arguments, Made]:
    """Make a command print a `WeightDecayError` as one sentence on stderr, and exit with status 2."""

    @functools.wraps(main)
    def reporting(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Made:
        try:
            with importing(False):
                made = main(*args, **kwargs)
                sys.stdout.flush()
            return made
        except WeightDecayError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            print(INTERRUPTED, file=sys.stderr)
            sys.exit(130)
        except BrokenPipeError:  # the reader, such as `head`, has stopped reading
            silence_output()
            sys.exit()

    return reporting
