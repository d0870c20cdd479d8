"""The errors that are the user's to mend: each is one sentence naming the file, the key and what is allowed."""

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from weightdecay.surroundings import INTERRUPTED, importing, silence_output

Arguments = ParamSpec("Arguments")
Made = TypeVar("Made")


class WeightDecayError(Exception):
    """Base of them all: shown as one sentence, never as a traceback."""


class ConfigError(WeightDecayError, ValueError):
    """A configuration, a scale or an experiment that cannot be what was meant."""


class ResultError(WeightDecayError, ValueError):
    """A result that is missing, damaged, made with other settings, or cannot be written."""


class FolderError(WeightDecayError, OSError):
    """A working folder that another process holds, or that cannot be written to."""


class DeviceError(WeightDecayError, RuntimeError):
    """A device that this machine does not have."""


def reports_user_errors(main: Callable[Arguments, Made]) -> Callable[Arguments, Made]:
    """Makes a command print a `WeightDecayError` as one sentence on stderr and exit with status 2."""

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
        except BrokenPipeError:  # whoever reads us, `head` say, has enough
            silence_output()
            sys.exit()

    return reporting
