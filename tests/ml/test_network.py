from __future__ import annotations

import numpy as np
import pytest

from ml import network


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("cdeotte", 320_000, 340_000), ("stride3", 600_000, 640_000), ("sharp", 725_000, 735_000)],
)
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


def test_an_unknown_network_is_answered_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="'resnet'; there are cdeotte, stride3"):
        network.build("resnet", dropout=0.3)
