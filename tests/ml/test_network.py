from __future__ import annotations

import numpy as np
import pytest

from ml import network


@pytest.mark.parametrize(("name", "least", "most"), [("cdeotte", 320_000, 340_000), ("stride3", 600_000, 640_000)])
def test_a_network_gives_37_logits_and_128_features(name: str, least: int, most: int) -> None:
    import keras

    built = network.build(name, dropout=0.3)
    assert least < built.count_params() < most
    both = keras.Model(built.input, [built.output, built.get_layer("features").output])
    logits, features = both(np.random.default_rng(0).random((3, 28, 28, 1), np.float32))
    assert logits.shape == (3, 37)
    assert features.shape == (3, network.FEATURES)
    assert float(np.min(features)) >= 0
    assert built.get_layer("logits").output.shape == (None, 37)
    assert not np.allclose(np.sum(logits, axis=1), 1)  # logits, no softmax


@pytest.mark.parametrize("name", sorted(network.NETWORKS))
def test_dropout_is_the_one_asked_for(name: str) -> None:
    import keras

    rates = {
        layer.rate for layer in network.build(name, dropout=0.15).layers if isinstance(layer, keras.layers.Dropout)
    }
    assert rates == {0.15}


def test_merged_networks_read_what_their_members_read_on_average() -> None:
    import keras

    members = network.build_members("stride3", 0.3, 2)
    assert [each.get_layer("features").output.shape[-1] for each in members] == [network.FEATURES // 2] * 2
    merged = network.merge(members)
    images = np.random.default_rng(0).random((5, 28, 28, 1), np.float32)
    apart = [np.asarray(each(images)) for each in members]
    assert not np.allclose(apart[0], apart[1])
    logits, features = keras.Model(merged.input, [merged.output, merged.get_layer("features").output])(images)
    assert np.asarray(logits) == pytest.approx(np.mean(apart, axis=0), abs=1e-4)
    assert features.shape == (5, network.FEATURES)


def test_a_single_member_is_the_network_itself() -> None:
    (alone,) = network.build_members("cdeotte", 0.3, 1)
    assert network.merge([alone]) is alone
    assert alone.get_layer("features").output.shape == (None, network.FEATURES)


@pytest.mark.parametrize("count", [0, 3])
def test_features_are_divided_evenly(count: int) -> None:
    with pytest.raises(ValueError, match="128 features cannot be divided"):
        network.build_members("stride3", 0.3, count)


def test_an_unknown_network_is_answered_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="'resnet'; there are cdeotte, stride3"):
        network.build("resnet", dropout=0.3)
