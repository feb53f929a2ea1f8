from __future__ import annotations

import contextlib

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.artifact import SHIPPED
from ml.embed import (
    METHODS,
    NEIGHBOURS,
    CannotEmbed,
    ReferenceMap,
    _graph,
    _landmarks,
    align,
    fit,
    fit_umap,
    moved,
    nearest,
    place,
    quality,
    scale_to_unit,
    standardise,
)

Floats = npt.NDArray[np.float32]
COUNT, LATER = 700, 100

# By method: trustworthiness and the share that neighbours on the map read right, at the least, on the letters below
FLOORS = {
    "umap": (0.97, 0.85),
    "tsne": (0.96, 0.80),
    "pca": (0.84, 0.55),
    "svd": (0.74, 0.40),
    "isomap": (0.86, 0.65),
    "lle": (0.93, 0.80),
}
EVERY = [pytest.param(method, marks=pytest.mark.slow) if method in ("umap", "tsne") else method for method in METHODS]


@pytest.fixture(scope="module")
def reference() -> ReferenceMap:
    return ReferenceMap(SHIPPED)


@pytest.fixture(scope="module")
def letters(reference: ReferenceMap) -> Floats:
    """Features of the first reference letters, which are a fair sample of all classes."""
    return reference.features[:COUNT]


@pytest.fixture(scope="module")
def labels(reference: ReferenceMap) -> npt.NDArray[np.uint8]:
    return reference.labels[:COUNT]


# --- Fit -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", EVERY)
def test_a_map_is_good_the_same_again_and_stays_where_it_was(
    method: str, letters: Floats, labels: npt.NDArray[np.uint8]
) -> None:
    early = letters[:-LATER]
    first = fit(method, early, seed=3).plane
    assert first.dtype == np.float32
    assert first.shape == (len(early), 2)
    assert np.abs(first).max() == pytest.approx(0.95, abs=1e-3)
    assert np.array_equal(first, fit(method, early, seed=3).plane)

    trust, read = FLOORS[method]
    found = quality(early, first, labels[:-LATER])
    assert (found["trustworthiness"] or 0) > trust
    assert (found["knn_plane"] or 0) > read

    later = np.full((LATER, 2), np.nan, np.float32)
    again = fit(method, letters, seed=4, start=np.vstack([first, later])).plane
    assert np.isfinite(again).all()
    assert np.abs(again).max() <= 1
    went = moved(first, again[:-LATER])
    assert 0 < went["mean"] < 0.05
    assert (quality(letters, again, labels)["knn_plane"] or 0) > read


@pytest.mark.slow
def test_an_artefacts_plane_fills_the_square_and_follows_its_parents(letters: Floats) -> None:
    first = fit_umap(letters, seed=1)
    assert np.abs(first).max() == pytest.approx(1)
    assert moved(first, fit_umap(letters, seed=2, start=first))["mean"] < 0.05


def test_pca_is_that_of_the_textbook(letters: Floats) -> None:
    centred = letters.astype(float) - letters.mean(axis=0, dtype=float)
    _, sizes, across = np.linalg.svd(centred, full_matrices=False)
    fitted = fit("pca", letters)
    assert fitted.explained is not None
    assert fitted.components is not None
    assert np.allclose(fitted.explained, np.cumsum(sizes**2)[:200] / (sizes**2).sum(), atol=1e-5)
    assert fitted.components.shape == (16, letters.shape[1])
    assert np.allclose(np.abs((fitted.components * across[:16]).sum(axis=1)), 1, atol=1e-4)
    scores = centred @ fitted.components[:2].T
    assert np.allclose(fitted.plane, scale_to_unit(scores) * 0.95, atol=1e-4)


def test_svd_is_that_of_the_textbook(letters: Floats) -> None:
    _, _, across = np.linalg.svd(letters.astype(float), full_matrices=False)
    scores = letters.astype(float) @ across.T
    fitted = fit("svd", letters)
    assert fitted.explained is not None
    assert fitted.components is not None
    assert np.allclose(np.abs((fitted.components * across[:16]).sum(axis=1)), 1, atol=1e-4)
    assert np.allclose(fitted.explained, np.cumsum(scores.var(axis=0)) / scores.var(axis=0).sum(), atol=1e-5)


@pytest.mark.parametrize("method", ["pca", "svd"])
def test_the_largest_entry_of_a_component_is_positive(method: str, letters: Floats) -> None:
    components = fit(method, letters).components
    assert components is not None
    assert (components.max(axis=1) == np.abs(components).max(axis=1)).all()


def test_at_most_200_components_are_counted() -> None:
    explained = fit("pca", np.random.default_rng(0).normal(size=(300, 250)).astype(np.float32)).explained
    assert explained is not None
    assert len(explained) == 200
    assert (np.diff(explained) > 0).all()
    assert 0.8 < explained[-1] < 1


def test_above_so_many_letters_a_sample_is_fitted_and_the_rest_placed(letters: Floats) -> None:
    plane = fit("lle", letters, landmarks=300).plane
    lots = np.random.default_rng([0, 5]).random(COUNT)
    fitted = np.sort(np.argsort(lots)[:300])
    rest = np.setdiff1d(np.arange(COUNT), fitted)
    assert np.allclose(plane[fitted], fit("lle", letters[fitted]).plane, atol=1e-3)
    assert np.array_equal(plane[rest], place(letters[rest], letters[fitted], plane[fitted]))


@pytest.mark.parametrize("method", ["pca", "svd", "isomap"])
def test_a_map_that_was_held_back_arrives_with_the_next_ones(method: str, letters: Floats) -> None:
    """What it shows in the end is the plane of these letters, whatever was there before."""
    own = fit(method, letters).plane
    plane = np.vstack([fit(method, letters[:-LATER]).plane, np.full((LATER, 2), np.nan, np.float32)])
    for _ in range(9):
        before, plane = plane, fit(method, letters, start=plane).plane
        assert moved(before, plane)["mean"] < 0.05
    assert moved(own, align(plane, own))["mean"] < 0.01


@pytest.mark.parametrize("method", ["pca", "svd"])
def test_what_is_explained_does_not_depend_on_the_map_before(method: str, letters: Floats) -> None:
    before = np.random.default_rng(0).uniform(-1, 1, (COUNT, 2)).astype(np.float32)
    first, again = fit(method, letters), fit(method, letters, start=before)
    assert np.array_equal(again.explained, first.explained)
    assert np.array_equal(again.components, first.components)


@pytest.mark.parametrize("method", ["pca", "svd", "isomap", "lle"])
def test_a_few_letters_are_fitted_again_from_where_they_were(method: str, letters: Floats) -> None:
    few = letters[: 17 if method in ("isomap", "lle") else 3]
    first = fit(method, few[:-1]).plane
    again = fit(method, few, start=np.vstack([first, [[np.nan, np.nan]]])).plane
    assert np.isfinite(again).all()
    assert np.abs(again).max() <= 1


def test_the_sample_hardly_changes_when_letters_come() -> None:
    early, late = _landmarks(1_000, 300, 0), _landmarks(1_100, 300, 0)
    assert len(early) == len(late) == 300
    assert set(late[late < 1_000]) <= set(early)  # newcomers alone take places
    assert len(set(early) & set(late)) > 250


def test_umap_is_told_each_letters_neighbours_after_itself(letters: Floats) -> None:
    indices, distances = _graph(letters, lambda share, words: None)
    assert indices.shape == distances.shape == (COUNT, 15)
    assert np.array_equal(indices[:, 0], np.arange(COUNT))
    assert all(len(set(row)) == 15 for row in indices)
    away = np.linalg.norm(letters[7] - letters, axis=1)
    assert np.array_equal(indices[7], np.argsort(away)[:15])
    assert np.allclose(distances[7], np.sort(away)[:15], atol=1e-4)


def test_a_sample_that_is_fitted_again_stays_where_it_was(letters: Floats) -> None:
    early = letters[:-LATER]
    first = fit("lle", early, landmarks=400).plane
    start = np.vstack([first, np.full((LATER, 2), np.nan, np.float32)])
    again = fit("lle", letters, start=start, landmarks=400).plane
    assert moved(first, again[:-LATER])["mean"] < 0.05


def test_an_outlier_that_comes_stands_at_the_edge_and_moves_no_other_letter_far() -> None:
    vectors = np.random.default_rng(0).normal(0, [9, 5, 1, 1, 1], (500, 5)).astype(np.float32)
    first = fit("pca", vectors).plane
    far = np.vstack([vectors, [[60, 0, 0, 0, 0]]])
    again = fit("pca", far, start=np.vstack([first, [[np.nan, np.nan]]])).plane
    assert np.abs(again[-1]).max() == 1
    assert moved(first, again[:-1])["mean"] < 0.01


def test_progress_is_told_and_may_end_a_fit(letters: Floats) -> None:
    heard: list[tuple[float, str]] = []
    fit("lle", letters, landmarks=300, report=lambda share, words: heard.append((share, words)))
    shares = [share for share, _ in heard]
    assert shares == sorted(shares)
    assert 0 <= shares[0] < shares[-1] <= 1
    assert all(words for _, words in heard)

    def stop(share: float, words: str) -> None:
        raise InterruptedError(words)

    for method in ("pca", "lle", "tsne", "isomap"):
        with pytest.raises(InterruptedError):
            fit(method, letters, report=stop)


# --- Few, odd and broken ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["pca", "svd"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_letters_make_a_map_of_components(method: str, count: int, letters: Floats) -> None:
    fitted = fit(method, letters[:count])
    assert fitted.plane.shape == (count, 2)
    assert np.isfinite(fitted.plane).all()
    assert len(np.unique(fitted.plane, axis=0)) == count


@pytest.mark.parametrize("method", ["umap", "tsne", "isomap", "lle"])
def test_a_few_letters_are_too_few_for_neighbours(method: str, letters: Floats) -> None:
    with pytest.raises(CannotEmbed, match="needs at least 16 letters, and there are 3"):
        fit(method, letters[:3])


@pytest.mark.parametrize("method", ["tsne", "isomap", "lle"])
def test_sixteen_letters_are_enough(method: str, letters: Floats) -> None:
    assert np.isfinite(fit(method, letters[:16]).plane).all()


@pytest.mark.parametrize("method", METHODS)
def test_no_letters_are_refused(method: str) -> None:
    with pytest.raises(CannotEmbed, match="no letter"):
        fit(method, np.empty((0, 128), np.float32))


@pytest.mark.parametrize("method", METHODS)
def test_letters_that_are_all_the_same_lie_in_the_middle(method: str) -> None:
    assert not fit(method, np.full((40, 8), 0.3, np.float32)).plane.any()


@pytest.mark.parametrize("method", ["pca", "svd", "tsne", "isomap", "lle"])
def test_many_copies_of_three_letters_are_mapped_or_refused_in_words(method: str, letters: Floats) -> None:
    with contextlib.suppress(CannotEmbed):
        plane = fit(method, np.repeat(letters[:3], 20, axis=0)).plane
        assert np.isfinite(plane).all()
        assert np.abs(plane).max() <= 1


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_by_number(broken: float, letters: Floats) -> None:
    spoiled = letters.copy()
    spoiled[[7, 9], 3] = broken
    with pytest.raises(CannotEmbed, match="2 of these letters have numbers that are not finite, the first is 7"):
        fit("pca", spoiled)
    with pytest.raises(CannotEmbed, match="2 of the new letters"):
        place(spoiled, letters, np.zeros((COUNT, 2), np.float32))
    with pytest.raises(CannotEmbed, match="1 of the new letter"):
        nearest(spoiled[7], letters)


def test_shapes_and_methods_are_refused_in_words(letters: Floats) -> None:
    with pytest.raises(CannotEmbed, match=r"shape \(128,\)"):
        fit("pca", letters[0])
    with pytest.raises(CannotEmbed, match="'umpa' is no method"):
        fit("umpa", letters)
    with pytest.raises(CannotEmbed, match=r"earlier places have the shape \(3, 2\)"):
        fit("pca", letters, start=np.zeros((3, 2), np.float32))


# --- Place -----------------------------------------------------------------------------------------------------------


def test_letters_are_placed_among_their_like_and_move_no_other(reference: ReferenceMap) -> None:
    new, known = reference.features[:100], reference.features[100:]
    plane, before = reference.plane[100:], reference.plane[100:].copy()
    places = place(new, known, plane)
    assert np.array_equal(plane, before)
    assert np.linalg.norm(places - reference.plane[:100], axis=1).mean() < 0.1  # where UMAP itself put them
    assert np.array_equal(places[3], place(new[3:4], known, plane)[0])  # whoever comes with it


def test_a_letter_that_is_known_is_placed_where_it_is(reference: ReferenceMap) -> None:
    twin = place(reference.features[40:41], reference.features, reference.plane)
    assert np.allclose(twin, reference.plane[40], atol=1e-4)


def test_none_few_or_one_may_be_placed(letters: Floats) -> None:
    plane = np.array([[0, 0], [1, 0], [0, 1]], np.float32)
    assert place(letters[:0], letters[:3], plane).shape == (0, 2)
    assert place(letters[3:5], letters[:3], plane).shape == (2, 2)
    assert np.array_equal(place(letters[3:5], letters[:1], plane[2:]), [[0, 1], [0, 1]])


def test_the_nearest_come_first_with_their_distances(letters: Floats) -> None:
    indices, distances = nearest(letters[9] + 0.01, letters)
    true = np.linalg.norm(letters - (letters[9] + 0.01), axis=1)
    assert indices[0] == 9
    assert np.array_equal(indices, np.argsort(true)[:NEIGHBOURS])
    assert np.allclose(distances, np.sort(true)[:NEIGHBOURS], rtol=1e-4)


def test_a_prediction_is_placed_as_any_letter_is(reference: ReferenceMap) -> None:
    features = reference.features[5] + np.float32(0.05)
    point, indices, distances = reference.locate(features)
    expected, away = nearest(features, reference.features)
    assert np.array_equal(indices, expected)
    assert np.allclose(distances, away, rtol=1e-4)
    assert np.array_equal(reference.nearest(features), indices)
    assert np.array_equal(reference.place(features), point)
    assert np.allclose(point, place(features[None], reference.features, reference.plane)[0], atol=1e-5)


# --- Judge -----------------------------------------------------------------------------------------------------------


def test_quality_is_that_of_the_textbook(letters: Floats, labels: npt.NDArray[np.uint8]) -> None:
    from sklearn.manifold import trustworthiness

    plane = fit("pca", letters).plane
    found = quality(letters, plane, labels)
    assert found["sample"] == COUNT
    assert found["trustworthiness"] == pytest.approx(trustworthiness(letters, plane, n_neighbors=NEIGHBOURS), abs=1e-4)
    for name, vectors in (("knn_plane", plane), ("knn_space", letters)):
        away = np.linalg.norm(vectors[:, None].astype(float) - vectors[None], axis=2)
        others = labels[np.argsort(away, axis=1)[:, 1 : NEIGHBOURS + 1]]  # the first is the letter itself
        true = np.mean([np.bincount(row).argmax() == label for row, label in zip(others, labels, strict=True)])
        assert found[name] == pytest.approx(true, abs=0.03)  # two ways to settle a draw


def test_places_at_random_are_known_for_what_they_are(letters: Floats, labels: npt.NDArray[np.uint8]) -> None:
    plane = np.random.default_rng(0).uniform(-1, 1, (COUNT, 2)).astype(np.float32)
    found = quality(letters, plane, labels)
    assert found["trustworthiness"] == pytest.approx(0.5, abs=0.05)
    assert (found["knn_plane"] or 1) < 0.1
    assert (found["knn_space"] or 0) > 0.8


def test_a_large_map_is_judged_by_a_sample(reference: ReferenceMap) -> None:
    some = quality(reference.features, reference.plane, reference.labels)
    assert some["sample"] == 2000
    assert some == quality(reference.features, reference.plane, reference.labels)
    assert some != quality(reference.features, reference.plane, reference.labels, seed=1)
    assert (some["trustworthiness"] or 0) > 0.97
    assert (some["knn_plane"] or 0) > (some["knn_space"] or 1) - 0.03


def test_few_letters_and_one_class_have_a_quality_or_none(letters: Floats) -> None:
    one = np.zeros(COUNT, np.uint8)
    plane = fit("pca", letters).plane
    assert quality(letters, plane, one)["knn_plane"] == 1
    for count in range(4):
        assert quality(letters[:count], plane[:count], one[:count])["trustworthiness"] is None
    for count in (4, 9, 17):
        assert 0 <= (quality(letters[:count], plane[:count], one[:count])["trustworthiness"] or -1) <= 1


def test_copies_do_not_vote_for_themselves() -> None:
    same = np.ones((30, 4), np.float32)
    found = quality(same, np.zeros((30, 2), np.float32), np.arange(30))
    assert found["knn_plane"] == found["knn_space"] == 0


def test_a_movement_is_a_share_of_the_maps_width() -> None:
    before = np.array([[-1, 0], [1, 0], [0, 0.5], [np.nan, np.nan]], np.float32)
    after = np.array([[-1, 0.2], [1, 0], [0, 0.5], [1, 1]], np.float32)
    assert moved(before, after) == {"mean": pytest.approx(0.1 / 3), "largest": pytest.approx(0.1)}
    assert moved(before[3:], after[3:]) == {"mean": 0, "largest": 0}


# --- Frame -----------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    angle=st.floats(0, 6.2),
    scale=st.floats(0.1, 10),
    mirror=st.sampled_from([1.0, -1.0]),
    shift=st.floats(-3, 3),
    seed=st.integers(0, 99),
)
def test_what_was_turned_mirrored_scaled_and_moved_is_brought_back(
    angle: float, scale: float, mirror: float, shift: float, seed: int
) -> None:
    plane = np.random.default_rng(seed).uniform(-1, 1, (20, 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    strange = (plane * [1, mirror]) @ turn * scale + shift
    known = plane.copy()
    known[5:9] = np.nan  # these have no say, and come along
    assert np.allclose(align(strange, known), plane, atol=1e-4)


def test_a_map_does_not_shrink_from_fit_to_fit() -> None:
    random = np.random.default_rng(0)
    plane = random.uniform(-1, 1, (500, 2))
    again = plane
    for _ in range(20):
        again = align(again + random.normal(0, 0.1, plane.shape), again)
    assert again.std() == pytest.approx(plane.std(), rel=1e-3)


def test_a_point_or_none_may_be_aligned_to() -> None:
    plane = np.array([[0, 0], [1, 1]], np.float32)
    assert np.array_equal(align(plane, np.full((2, 2), np.nan)), plane)
    assert np.isfinite(align(plane, np.array([[0.5, 0.5], [np.nan, np.nan]]))).all()
    assert np.isfinite(align(plane, np.zeros((2, 2)))).all()


def test_pixels_are_standardised_and_an_empty_one_left_alone() -> None:
    pixels = np.random.default_rng(0).uniform(0, 1, (200, 5)).astype(np.float32)
    pixels[:, 2] = 0.25
    scaled = standardise(pixels)
    assert scaled.dtype == np.float32
    assert np.allclose(scaled.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(scaled.std(axis=0), [1, 1, 0, 1, 1], atol=1e-5)
