"""What a visitor downloads of ours stays small."""

from __future__ import annotations

from tests.running import ROOT

LIMIT = 100_000  # bytes


def test_our_scripts_and_styles_stay_under_100_kilobytes() -> None:
    files = (ROOT / "static" / "letters").rglob("*")
    ours = [path for path in files if path.suffix in (".js", ".css") and not path.name.startswith("admin")]
    assert len(ours) > 10, "they were moved: look for them where they are now"
    assert sum(path.stat().st_size for path in ours) < LIMIT
