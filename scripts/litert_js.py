"""Print the folder of LiteRT.js, which runs `model.tflite` in a browser; npm fetches it where it is not there yet.

It lies in .venv, pinned by version and SHA-512: 9 MB of WebAssembly are not for this repository.
Exits 1, saying why, where it cannot be had. With --present nothing is fetched.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "2.5.3"
PACKAGES = {  # npm's names, and the `integrity` that it gives
    "core": "PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9OFDL1kCnN4nzWoyJQ==",
    "wasm-utils": "4fJiw6tBQnIs+0jH/OQ16nYOiSl8/+zZnn5h2ul8aTKHi05sVqZW580Tmk78pC2kT39A9OYBVdFawteZ/sI1kQ==",
}
FOLDER = Path(__file__).resolve().parent.parent / ".venv" / f"litertjs-{VERSION}"
TIMEOUT = 120.0  # seconds for one package


def main() -> None:
    """The command line."""
    if "--present" not in sys.argv[1:]:
        problem = fetch()
        if problem:
            sys.exit(f"There is no LiteRT.js on this machine: {problem}")
    if not present():
        sys.exit("There is no LiteRT.js on this machine.")
    print(FOLDER)


def present() -> bool:
    """Whether it is there; the folder is renamed into place, so it is whole."""
    return FOLDER.is_dir()


def fetch() -> str:
    """Bring it here. Why that failed, or an empty string."""
    if present():
        return ""
    if not shutil.which("npm"):
        return "npm is not installed"
    FOLDER.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER.parent) as made:
        aside = Path(made) / "packages"
        for name, digest in PACKAGES.items():
            problem = _fetch_one(name, digest, Path(made), aside / name)
            if problem:
                return problem
        if not present():  # another may have been faster
            aside.rename(FOLDER)
    return ""


def _fetch_one(name: str, digest: str, made: Path, into: Path) -> str:
    asked = f"@litertjs/{name}@{VERSION}"
    print("Looking for LiteRT.js: npm pack", asked, file=sys.stderr)
    try:
        done = subprocess.run(
            ["npm", "pack", asked, "--pack-destination", str(made)],
            cwd=made,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        return str(problem)
    package = made / f"litertjs-{name}-{VERSION}.tgz"
    if done.returncode or not package.is_file():
        return f"npm could not fetch {asked}"
    if base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode() != digest:
        return f"{asked} is not the package that is pinned: its SHA-512 differs"
    with tarfile.open(package) as opened:
        opened.extractall(made / f"of-{name}", filter="data")
    shutil.copytree(made / f"of-{name}" / "package", into)
    return ""


if __name__ == "__main__":
    main()
