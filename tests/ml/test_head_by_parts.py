"""What benchmarks.head_by_parts says a last layer learns."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import head_by_parts, styles
from ml import artifact
from ml.artifact import SHIPPED
from ml.head import Collected
from ml.labels import class_of, index_of
from ml.preprocess import image_from_strokes


@pytest.mark.slow
def test_a_style_is_learned_from_other_hands_and_from_nobody_else() -> None:
    """An A without its bar is read where others draw it so, and stays a V where its only hand is the one asked."""
    letters = list(styles.letters(each=20, writers=4, seed=0, styles=["barless-a"]))
    images = np.stack([image_from_strokes(each["strokes"]) for each in letters])
    labels = np.array([index_of(class_of(each["character"])) for each in letters], np.uint8)
    features = artifact.features_of(SHIPPED, images)
    drawn = Collected(images, labels, np.ones(len(labels), np.float32), features)
    writers = list(dict.fromkeys(each["writer"] for each in letters))
    part = np.array([writers.index(each["writer"]) % 2 for each in letters])
    assert (artifact.load_head(SHIPPED).probabilities(features).argmax(axis=1) == labels).mean() < 0.1
    read, heads = head_by_parts.by_parts(SHIPPED, drawn, part)
    assert len(heads) == 2
    assert (read.argmax(axis=1) == labels).mean() > 0.9
    alone = np.append(np.zeros(len(labels) - 1, int), 1)
    others = Collected(
        images, np.append(np.full(len(labels) - 1, index_of("V"), np.uint8), labels[-1]), drawn.weights, features
    )
    read, _ = head_by_parts.by_parts(SHIPPED, others, alone)
    assert read[-1].argmax() == index_of("V")
