"""Print the path of a Chromium that starts on this machine; install one where there is none.

In this order: what LETTERLOOP_CHROMIUM names, what is on the PATH, what Playwright has or can fetch, Debian's package.
Exits 1, saying why, where none can be had. With --present nothing is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
INSTALL_TIMEOUT = 300.0  # seconds


def main() -> None:
    """The command line."""
    found = present() if "--present" in sys.argv[1:] else present() or install()
    if not found:
        sys.exit("There is no Chromium on this machine, and none could be installed.")
    print(found)


def present() -> str:
    """A Chromium that is there and starts; an empty string if none is."""
    named = os.environ.get("LETTERLOOP_CHROMIUM", "")
    candidates = [named, *(shutil.which(name) or "" for name in NAMES), str(MAC), playwrights_own()]
    return next((path for path in candidates if starts(path)), "")


def starts(path: str) -> bool:
    """Whether the program runs. Ubuntu's `chromium-browser` may only ask for a snap, and libraries may be missing."""
    if not path or not os.access(path, os.X_OK):
        return False
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def playwrights_own() -> str:
    """Where Playwright keeps the Chromium that it fetched, or would."""
    ask = "from playwright.sync_api import sync_playwright as p\nwith p() as it: print(it.chromium.executable_path)"
    return subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True).stdout.strip()


def install() -> str:
    """Playwright's Chromium, else Debian's where we may install it. The path, or an empty string."""
    attempt([sys.executable, "-m", "playwright", "install", "chromium"])
    found = present()
    if found or os.geteuid() != 0 or not shutil.which("apt-get"):
        return found
    attempt(["apt-get", "update", "-qq"])
    attempt(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"])
    return present()


def attempt(command: list[str]) -> None:
    """Run it, without its words on stdout: that is for the path alone. The next look says whether it helped."""
    print("Looking for a browser:", " ".join(command[-4:]), file=sys.stderr)
    try:
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            timeout=INSTALL_TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        print(f"  {problem}", file=sys.stderr)


if __name__ == "__main__":
    main()
