"""The environment of this project's programs, in which they make the same bytes and numbers whatever starts them.

A shell, a notebook or a cluster exports variables that change figures, change rounding, or keep a program from
starting. `own` decides which of them stay. The Snakefile gives the resulting environment to its jobs. A program of ours
that is started by hand adopts it when it imports this package (`enter`). A process that uses the package as a library,
such as a notebook, is left as it is.
"""

import atexit
import ctypes
import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

SOURCE = Path(__file__).resolve().parents[1]
OWNER = "WEIGHTDECAY_OWNER"  # the process of ours that started this one
INTERRUPTED = "interrupted; what is finished is kept, and the same command goes on from there"
_importing = True  # a program begins with imports

# Variables that are dropped, unless KEPT: switches of Python and libraries, commands that shells run at their start,
# languages, and search paths of TeX.
STRANGE = re.compile(
    r"PYTHON|MPL|MATPLOTLIB|NUMBA_|NUMEXPR_|OMP_|KMP_|GOTO_|MKL_|OPENBLAS_|BLIS_|VECLIB_|DNNL_|ONEDNN_|NPY_|ATEN_|TORCH"
    r"|TRITON_INTERPRET$|CUBLAS|NVIDIA_TF32|SOURCE_DATE_EPOCH$|LC_|LANG|SNAKEMAKE_|BASH_|BASHOPTS$|SHELLOPTS$|ENV$|CDPATH$"
    r"|GLOBIGNORE$|POSIXLY_CORRECT$|TEXINPUTS|BIBINPUTS|BSTINPUTS|shell_escape|openin_any$|openout_any$"
)
KEPT = {
    *("PYTHONPATH", "PYTHONPYCACHEPREFIX", "PYTHONUNBUFFERED", "PYTHONFAULTHANDLER", "PYTHONNOUSERSITE"),
    *("NUMBA_CACHE_DIR", "MPLCONFIGDIR", "TORCH_HOME", "TORCHINDUCTOR_CACHE_DIR", "TORCH_EXTENSIONS_DIR"),
    *("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"),  # some processors compute wrong without them; results record the kernel
    # Some machines cannot start a program without these: the places of Python and its packages, permission for two
    # OpenMPs in one process, processors that LLVM does not recognise, and the command of module systems.
    *("PYTHONHOME", "PYTHONPLATLIBDIR", "PYTHONUSERBASE", "KMP_DUPLICATE_LIB_OK", "MKL_THREADING_LAYER"),
    *("MKL_SERVICE_FORCE_INTEL", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"),
    *("BASH_FUNC_module%%", "BASH_FUNC_ml%%", "BASH_FUNC__module_raw%%"),
}
THREADS = ("OMP", "MKL", "OPENBLAS", "GOTO", "VECLIB", "NUMEXPR")
OURS = {
    "PYTHONUTF8": "1",  # λ can be printed and read in any language
    "MPLBACKEND": "agg",  # no display, no notebook
    **{f"{library}_NUM_THREADS": "1" for library in THREADS},
}


def own(found: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return the environment for programs that run in `folder`, made from the one that was found."""
    made = {name: value for name, value in found.items() if name in KEPT or not STRANGE.match(name)} | OURS
    if SOURCE.name == "src":  # in a checkout, the package need not be installed
        others = [path for path in found.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", str(SOURCE))]
        made["PYTHONPATH"] = os.pathsep.join([str(SOURCE), *others])
    if not _usable(made.get("XDG_CACHE_HOME", "/")):
        made.pop("XDG_CACHE_HOME", None)
    home, name = _account(made)
    if not (os.path.isdir(home) and _usable(home)) and (folder / "experiments").is_dir():
        made["HOME"] = str(folder / ".snakemake" / "home")  # for caches; programs make it when they need it
        made.pop("XDG_CONFIG_HOME", None)
    if name is None:
        made["USER"] = str(os.getuid())
    return made


def _account(environment: Mapping[str, str]) -> tuple[str, str | None]:
    """Return the user's home, or "", and a name, or None. Snakemake and torch need a name."""
    import pwd  # imported here, as some systems lack it

    try:
        home, name = pwd.getpwuid(os.getuid()).pw_dir, pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container, the user may have a number only
        home, name = "", None
    names = [environment.get(key) for key in ("LOGNAME", "USER", "LNAME", "USERNAME")]
    return environment.get("HOME", home), next(filter(None, names), name)


def _usable(folder: str) -> bool:
    """Return whether the folder can be written to, or be made."""
    nearest = next((each for each in (Path(folder), *Path(folder).parents) if each.exists()), Path())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


@contextmanager
def without(name: str) -> Iterator[None]:
    """Remove a variable from the environment within this context."""
    found = os.environ.pop(name, None)
    try:
        yield
    finally:
        if found is not None:
            os.environ[name] = found


def enter() -> None:
    """Give this process the environment of our programs, if it is one of them.

    The interpreter reads some variables only when it starts. If one of these must be dropped, it is started again.
    """
    if not is_ours():
        return
    owner = os.environ.get(OWNER)
    made = own(os.environ, Path.cwd())
    read_at_start = {name for name in os.environ if name.startswith("PYTHON") and name not in made}
    if read_at_start or not (sys.flags.utf8_mode or sys.stdout is None or sys.stdout.encoding.lower() == "utf-8"):
        with suppress(OSError):  # if the interpreter cannot be started again, this process goes on
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], made)
    take_on()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) in (
            signal.SIG_DFL,
            signal.default_int_handler,
        ):  # otherwise somebody, such as nohup, has decided to ignore the signal
            signal.signal(number, _interrupt)
    if owner == str(os.getppid()):
        _end_with_parent(int(owner))


def is_ours() -> bool:
    """Return whether this process was started as a command of this package."""
    started, command = list(sys.orig_argv), Path(sys.argv[0] if sys.argv else "")
    if "--multiprocessing-fork" in started:
        return False
    if str(command) == "-m":  # python -m: the module has not been found yet
        module = started[started.index("-m") + 1] if "-m" in started[:-1] else ""
        return module.split(".")[0] == __package__
    return command.name == __package__ and command.is_file()


def take_on(**more: str) -> None:
    """Give this process, and the processes that it starts, the environment of `own` and `more`.

    From here on an interrupt prints one line instead of a traceback, and a reader that stops reading is no error.
    """
    made = own(os.environ, Path.cwd())
    os.environ.clear()
    os.environ.update(made | more | {OWNER: str(os.getpid())})
    os.umask(os.umask(0o077) & 0o077)  # we must be able to read what we write
    sys.excepthook = _told
    atexit.register(_flush)


def _told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print(INTERRUPTED, file=sys.stderr)
    elif issubclass(kind, BrokenPipeError):
        silence_output()
    else:
        sys.__excepthook__(kind, error, trace)


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        silence_output()
    except (AttributeError, ValueError):  # there is no stdout, or it is closed
        pass


def silence_output() -> None:
    """Discard all further output, or Python would complain about a broken pipe when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def importing(now: bool = True) -> Iterator[None]:
    """Mark that modules are being imported, as when a program starts: an interrupt then ends the program at once.

    During an import, an exception may be lost or shown with a traceback.
    """
    global _importing
    before, _importing = _importing, now
    try:
        yield
    finally:
        _importing = before


def _interrupt(*_: object) -> None:
    if _importing:
        os.write(2, f"{INTERRUPTED}\n".encode())
        os._exit(130)
    raise KeyboardInterrupt


def _end_with_parent(parent: int) -> None:
    """Let SIGTERM end this process when the process that started it is killed. Only Linux offers this."""
    pr_set_pdeathsig = 1
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
        if os.getppid() != parent:  # it was killed just before
            os.kill(os.getpid(), signal.SIGTERM)
