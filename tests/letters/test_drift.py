"""Drift: what is counted of each day, what is said of it and what is not, and the page that shows it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone
from scipy import stats

from letters import drift, drift_charts, drift_tests, drift_words, metrics, registry
from letters.drift import Day, Drift, Tally
from letters.models import Drawing, DriftDay, Examination, ModelVersion
from tests.letters.collected import a_drawing, somebody
from tests.running import free_port

NOON = datetime(2026, 3, 20, 12, tzinfo=UTC)
TODAY = NOON.date()


@pytest.fixture(autouse=True)
def _as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker stops after some seconds and goes on with the next message; a busy machine might stop here."""
    monkeypatch.setattr(drift, "AT_ONCE", 3600.0)


def version(number: int) -> ModelVersion:
    found, _ = ModelVersion.objects.get_or_create(
        number=number, defaults={"digest": str(number) * 64, "name": "One", "origin": "shipped"}
    )
    return found


def drawn(ago: int, *, now: datetime = NOON, **changes: Any) -> Drawing:
    """A letter that was drawn so many days ago."""
    drawing = a_drawing(contributor=changes.pop("contributor", None) or somebody(), **changes)
    Drawing.objects.filter(pk=drawing.pk).update(created_at=now - timedelta(days=ago))
    return drawing


def tally(kept: int, corrected: int = 0, *, sure: float = 0.9, letters: str = "AB", **more: Any) -> Tally:
    """Of letters that were all about as sure."""
    labels = Counter({letter: kept // len(letters) for letter in letters})
    labels[letters[0]] += kept - labels.total()
    squares = kept * (sure * sure + 0.01)  # with a deviation of 0.1
    return Tally(
        kept=kept,
        corrected=corrected,
        probability=kept * sure,
        squares=squares,
        labels=labels,
        predicted=labels,
        **more,
    )


def weeks(lately: Tally, earlier: Tally, *, serving: int = 1, before: int | None = None) -> Drift:
    """A window of two weeks: a day of the last seven, and one before them."""
    days = [Day(TODAY - timedelta(days=ago), {}) for ago in reversed(range(14))]
    days[-1].versions[serving] = lately
    days[0].versions[before or serving] = earlier
    return Drift(days, serving, before, [], NOON, True)


def notable(found: Drift) -> list[str]:
    return [each.words for one in drift_words.comparisons(found) for each in one.said if each.notable]


# --- Counting --------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_day_is_counted() -> None:
    drawn(2, predicted="Z", probability=0.95)
    drawn(2, predicted="L", probability=0.42)
    drawn(2, predicted="L", state="rejected")
    drawn(2, predicted="Z", probability=1.0, model=version(2))
    drawn(2, source="import")
    drawn(3, predicted="Z")
    strange = drawn(2, predicted="Z", probability=0.95)
    Examination.objects.create(
        drawing=strange,
        model=version(1),
        predicted="Z",
        probability=0.9,
        label_probability=0.9,
        unfamiliarity=1.2,
        trunk="t",
        features=b"",
    )
    assert drift.count(NOON) == drift.DAYS
    day = next(day for day in drift.window(7, NOON).days if day.day == TODAY - timedelta(days=2))
    first, second = day.versions[1], day.versions[2]
    assert (first.kept, first.corrected, first.rejected) == (3, 1, 1)
    assert first.mean == pytest.approx((0.95 + 0.42 + 0.95) / 3)
    assert first.deviation == pytest.approx(stats.tstd([0.95, 0.42, 0.95]))
    assert first.confidence == {9: 2, 4: 1}
    assert (first.labels, first.predicted) == ({"Z": 3}, {"Z": 2, "L": 1})
    assert first.strange() == (1, 1)
    assert (second.kept, second.confidence) == (1, {9: 1})
    assert day.all.kept == 4


@pytest.mark.django_db
def test_days_are_counted_again_before_they_are_old() -> None:
    """What was withdrawn or reviewed since is out of a day's numbers within a day, and of today's within minutes."""
    yesterday, today = drawn(1), drawn(0)
    drift.count(NOON)
    assert not drift.is_due(NOON + timedelta(minutes=4))
    Drawing.objects.filter(pk__in=(yesterday.pk, today.pk)).delete()
    assert drift.count(NOON + timedelta(minutes=5)) == 1
    assert [day.all.kept for day in drift.window(2, NOON).days] == [1, 0]
    assert drift.count(NOON + timedelta(minutes=66)) == 2
    assert [day.all.kept for day in drift.window(2, NOON).days] == [0, 0]
    tomorrow = NOON + timedelta(days=1, hours=2)
    assert drift.count(tomorrow) == drift.DAYS
    assert DriftDay.objects.count() == drift.DAYS  # and the day that fell out of the window is gone


@pytest.mark.django_db
def test_counting_ends_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on with the next message: today comes first."""
    monkeypatch.setattr(drift, "AT_ONCE", 0.0)
    assert drift.count(NOON) == 1
    assert DriftDay.objects.get().day == TODAY
    assert drift.count(NOON) == 1
    assert drift.is_due(NOON)


@pytest.mark.django_db
def test_the_window_names_versions_and_changes() -> None:
    for number in (1, 2):
        registry.promote(version(number), actor="ann", reason="to see")
    found = drift.window(7, timezone.now())
    assert (found.serving, found.before, [number for _, number in found.changes]) == (2, 1, [1, 2])
    assert found.counted_at is None


# --- Testing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"), [((3, 60), (12, 70)), ((0, 50), (7, 50)), ((49, 50), (60, 80)), ((1, 9), (1, 9))]
)
def test_few_are_tested_exactly(first: tuple[int, int], second: tuple[int, int]) -> None:
    table = [[hits, of - hits] for hits, of in (first, second)]
    assert drift_tests.shares(first, second).p == pytest.approx(stats.fisher_exact(table).pvalue, rel=1e-6)


def test_many_are_tested_as_a_normal_distribution() -> None:
    table = [[120, 880], [60, 940]]
    exact = stats.chi2_contingency(table, correction=False).pvalue
    found = drift_tests.shares((120, 1000), (60, 1000))
    assert found.p == pytest.approx(exact, rel=1e-6)
    assert found.interval == pytest.approx((0.0351, 0.0853), abs=1e-4)


def test_means_are_tested() -> None:
    found = drift_tests.means((0.9, 0.1, 400), (0.88, 0.2, 900))
    assert found.p == pytest.approx(
        stats.ttest_ind_from_stats(0.9, 0.1, 400, 0.88, 0.2, 900, equal_var=False).pvalue, rel=0.02
    )
    assert found.interval[0] < found.value < found.interval[1]
    assert drift_tests.means((1.0, 0.0, 60), (1.0, 0.0, 60)).p == 1


@pytest.mark.parametrize("freedom", [1, 2, 3, 10, 36])
def test_the_tail_of_chi_square(freedom: int) -> None:
    for share in (0.5, 0.1, 0.01, 0.001):
        assert drift_tests.chi_square_tail(float(stats.chi2.isf(share, freedom)), freedom) == pytest.approx(
            share, rel=0.2
        )


def test_mixes_are_tested() -> None:
    first, second = Counter(A=300, B=200, C=2), Counter(A=200, B=300, D=1)
    found = drift_tests.mixes(first, second)
    assert found.p < 1e-6
    assert {label for label, _ in found.moved[:2]} == {"A", "B"}
    assert drift_tests.mixes(first, first).p == pytest.approx(1.0)
    assert drift_tests.mixes(Counter(A=60), Counter(A=90)).p == 1


@pytest.mark.slow
def test_of_the_same_letters_nothing_is_notable_as_a_rule() -> None:
    """Two hundred windows in which nothing changed: no more than one in twenty may cry wolf, by the threshold said."""
    chance = random.Random(5)
    alarms = 0
    for _ in range(200):
        sides = []
        for count in (300, 1500):
            labels = Counter(chance.choices("ABCDEFGHIJKLMNOP", k=count))
            sure = [chance.betavariate(8, 1) for _ in range(count)]
            wrong = sum(chance.random() < 0.08 for _ in range(count))
            squares = sum(each * each for each in sure)
            sides.append(Tally(kept=count, corrected=wrong, probability=sum(sure), squares=squares, labels=labels))
        alarms += bool(notable(weeks(*sides)))
    assert alarms <= 0.05 * 200


# --- Saying ----------------------------------------------------------------------------------------------------------


def test_nothing_notable_is_said() -> None:
    found = weeks(tally(400, 20), tally(1200, 61))
    assert notable(found) == []
    assert drift_words.summary(drift_words.comparisons(found)).words.startswith("Nothing has changed")


def test_too_few_are_said() -> None:
    """However large the difference seems."""
    found = weeks(tally(49, 40), tally(1200, 12))
    assert notable(found) == []
    assert "too few letters to say" in drift_words.summary(drift_words.comparisons(found)).words
    assert "49 letters were kept of the last 7 days" in drift_words.comparisons(found)[0].said[0].words


@pytest.mark.parametrize(
    ("lately", "earlier", "words"),
    [
        (tally(400, 60), tally(1200, 60), "more are corrected now"),
        (tally(400, 4), tally(1200, 120), "fewer are corrected now"),
        (tally(400, sure=0.8), tally(1200, sure=0.9), "it is less sure now"),
        (tally(400, letters="AAAB"), tally(1200), "people draw other letters now"),
        (tally(400, read=900, unknown=90), tally(1200, read=3000, unknown=60), "stranger drawings come now"),
        (
            tally(400, examined=400, unfamiliar=60),
            tally(1200, examined=1200, unfamiliar=30),
            "stranger drawings come now",
        ),
    ],
)
def test_one_thing_is_notable(lately: Tally, earlier: Tally, words: str) -> None:
    found = weeks(lately, earlier)
    assert [words in each for each in notable(found)] == [True]
    assert drift_words.summary(drift_words.comparisons(found)).words.startswith("One thing has changed")


def test_a_small_difference_of_very_many_is_no_alarm() -> None:
    found = weeks(tally(400_000, 20_000), tally(1_200_000, 61_500))
    assert notable(found) == []
    assert any("a difference that is small" in each.words for each in drift_words.comparisons(found)[0].said)


def test_what_was_read_is_not_compared_with_what_was_kept() -> None:
    lately = tally(400, examined=400, unfamiliar=4, read=900, unknown=300)
    assert notable(weeks(lately, tally(1200, examined=1200, unfamiliar=12))) == []


def test_a_version_is_compared_with_the_one_before() -> None:
    found = weeks(tally(400, 60), tally(1200, 60), serving=2, before=1)
    titles = [one.title for one in drift_words.comparisons(found) if one.notable]
    assert titles[-1] == "Model 2, which serves, and model 1, which did before"


# --- Showing ---------------------------------------------------------------------------------------------------------


def test_charts_lie_within_their_canvas() -> None:
    found = weeks(tally(400, 399, sure=1.0), tally(3, 3, sure=0.05), serving=2, before=1)
    for chart in (drift_charts.corrected(found), drift_charts.confidence(found)):
        assert [dot["kind"] for dot in chart["dots"]] == ["before", "serving"]
        assert [dot["few"] for dot in chart["dots"]] == [True, False]
        for dot in chart["dots"]:
            assert chart["low"] < dot["x"] < chart["high"]
            assert chart["ceiling"] <= dot["high_y"] <= dot["y"] <= dot["low_y"] <= chart["floor"]
    empty = Drift([Day(TODAY, {})], None, None, [], None, False)
    assert drift_charts.corrected(empty)["dots"] == []
    assert len(drift_charts.mix(Tally(), Tally())) == 37


@pytest.fixture(autouse=True)
def _plain_files(settings: Any) -> None:
    """Pages name style sheets, which no site has collected here."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = settings.STORAGES | {"staticfiles": plain}


@pytest.fixture
def maintainer(client: Client) -> Client:
    user = User.objects.create_user("ada", is_staff=True)
    user.groups.set(Group.objects.filter(name="maintainers"))
    client.force_login(user)
    return client


@pytest.mark.django_db
def test_the_page(maintainer: Client) -> None:
    """It works without any drawing, without Redis, and with some drawings."""
    assert "too few letters to say" in maintainer.get("/admin/drift/").content.decode()
    for ago in (0, 1, 9):
        drawn(ago, now=timezone.now(), predicted="L")
    drift.count()
    for days in ("", "28", "84", "9999999", "x"):
        page = maintainer.get("/admin/drift/", {"days": days})
        assert page.status_code == 200
    text = page.content.decode()
    assert text.count("100.0\N{NO-BREAK SPACE}%") >= 3  # of each day all were corrected
    assert "3 letters were kept in these 56 days" in text
    assert "<script" not in text.split('id="content-main"')[1]
    assert "style=" not in text.split('id="content-main"')[1]


@pytest.mark.django_db
def test_the_page_is_for_those_who_may_see_the_models(client: Client) -> None:
    assert client.get("/admin/drift/").status_code == 302
    user = User.objects.create_user("rae", is_staff=True)
    user.groups.set(Group.objects.filter(name="reviewers"))
    client.force_login(user)
    assert client.get("/admin/drift/").status_code == 403


@pytest.mark.django_db
def test_the_page_asks_the_database_little(maintainer: Client, django_assert_max_num_queries: Any) -> None:
    """Its numbers are in a row a day: it reads no drawing, however many there are."""
    for ago in range(3):
        drawn(ago, now=timezone.now())
    drift.count()
    with django_assert_max_num_queries(12) as asked:
        assert maintainer.get("/admin/drift/").status_code == 200
    assert not any("letters_drawing" in query["sql"] for query in asked.captured_queries)


@pytest.fixture
def away(settings: Any) -> Iterator[None]:
    """Nobody answers where Redis should be."""
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    metrics.client.cache_clear()
    yield
    metrics.client.cache_clear()


@pytest.mark.django_db
def test_a_redis_that_is_away_is_said(maintainer: Client, away: None) -> None:
    """All that the database knows is there."""
    drawn(0, now=timezone.now())
    drift.count()
    text = maintainer.get("/admin/drift/").content.decode()
    assert "Redis does not answer" in text
    assert "1 letters were kept" in text
