from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from ml.calibration import reliability
from ml.evaluation_figures import confusion_figure, examples_figure, reliability_figure, training_figure
from ml.labels import CLASS_COUNT, CLASSES
from ml.letter_sheet import GREEN, RED, Caption, letter_sheet

HISTORY = [
    {"epoch": float(n), "accuracy": n / 10, "val_accuracy": n / 20, "loss": 3.0 - n, "val_loss": 3.5 - n}
    for n in range(3)
]


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def captions(figure: Figure) -> list[Text]:
    """The words under the images; the title is a text of the axes too."""
    return [text for text in figure.axes[0].texts if text.get_fontsize() < 10]


def frames(figure: Figure) -> list[Rectangle]:
    return [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]


def answers(count: int, wrong: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, probabilities and labels of so many letters, the first few read as the next class."""
    labels = np.arange(count) % CLASS_COUNT
    read = np.where(np.arange(count) < wrong, (labels + 1) % CLASS_COUNT, labels)
    images = np.random.default_rng(0).integers(0, 256, (count, 28, 28)).astype(np.uint8)
    return images, np.eye(CLASS_COUNT, dtype=np.float32)[read], labels


def test_the_matrix_has_a_number_in_each_cell_that_is_not_empty() -> None:
    matrix = np.diag(np.full(CLASS_COUNT, 5))
    matrix[8, 11] = 3
    (axes,) = confusion_figure(matrix, "made").axes
    numbers = {tuple(text.get_position()): text for text in axes.texts if text.get_text().isdigit()}
    assert len(numbers) == CLASS_COUNT + 1
    assert numbers[11, 8].get_text() == "3"  # from left to right what was read, downwards the label
    assert numbers[11, 8].get_fontweight() == "bold"
    assert numbers[8, 8].get_fontweight() == "normal"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == list(CLASSES)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == list(CLASSES)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("read as", "label")
    assert axes.images[0].get_array()[8, 11] == pytest.approx(3 / 8)
    assert axes.get_title(loc="left").startswith("made: 188 letters, 185 of them read right")


def test_a_class_without_letters_is_an_empty_row() -> None:
    matrix = np.zeros((CLASS_COUNT, CLASS_COUNT), int)
    matrix[0, 0] = 1
    shares = confusion_figure(matrix, "made").axes[0].images[0].get_array()
    assert shares.sum() == 1


def test_the_reliability_diagram_shows_each_bin_that_has_letters() -> None:
    """Four letters at 0.9, of which three are right, and two at 0.5, both right."""
    rows = np.full((6, CLASS_COUNT), 0.1 / 36)
    rows[:4, 0], rows[4:, 0] = 0.9, 0.5
    figure = reliability_figure(reliability(rows, np.array([0, 0, 0, 1, 0, 0])), "made")
    above, below = figure.axes
    bars = [patch for patch in above.patches if isinstance(patch, Rectangle)]
    assert [round(bar.get_height(), 3) for bar in bars] == [1.0, 0.75]
    assert [round(bar.get_x() * 15) for bar in bars] == [7, 13]
    points = [line.get_xydata()[0].tolist() for line in above.lines if line.get_marker() == "o"]
    assert points == [pytest.approx([0.5, 1.0]), pytest.approx([0.9, 0.75])]
    assert texts(below) == ["2", "4"]
    assert len(below.patches) == 15
    assert "Expected calibration error 26.67 points; less sure than right by 6.67" in above.get_title(loc="left")
    assert len(above.get_legend().get_texts()) == 2


def test_training_and_validation_are_told_apart_by_their_lines() -> None:
    above, below = training_figure(HISTORY).axes
    for axes in (above, below):
        training, validation = axes.lines
        assert (training.get_linestyle(), validation.get_linestyle()) == ("--", "-")
        assert (training.get_label(), validation.get_label()) == ("training", "validation")
    assert above.lines[0].get_xdata().tolist() == [1, 2, 3]  # Keras counts epochs from 0
    assert above.lines[0].get_ydata() == pytest.approx([0, 10, 20])
    assert below.lines[1].get_ydata() == pytest.approx([3.5, 2.5, 1.5])


def test_a_fine_tuning_tells_less_and_is_shown_too() -> None:
    history = [{"epoch": epoch, "loss": 1.0, "val_accuracy": 0.9} for epoch in (1.0, 1.5)]
    above, below = training_figure(history).axes
    assert [line.get_label() for line in above.lines] == ["validation"]
    assert [line.get_label() for line in below.lines] == ["training"]
    assert above.lines[0].get_xdata().tolist() == [1.0, 1.5]


def test_the_first_epochs_do_not_press_the_others_flat() -> None:
    history = [{"epoch": float(n), "val_accuracy": 0.05 if n < 2 else 0.9 + n / 1000} for n in range(12)]
    low, high = training_figure(history).axes[0].get_ylim()
    assert 88 < low < 90.3
    assert high < 93


def test_196_examples_right_and_wrong() -> None:
    figure = examples_figure(*answers(400, wrong=100), "made")
    found = captions(figure)
    assert len(found) == len(frames(figure)) == 196
    wrong = [text for text in found if " as " in text.get_text()]
    right = [text for text in found if text not in wrong]
    assert 0 < len(wrong) < 196
    assert {text.get_color() for text in right} == {GREEN}
    assert {text.get_color() for text in wrong} == {RED}
    assert f"{len(right)} read right" in figure.axes[0].get_title(loc="left")


def test_a_wrong_example_is_known_without_colour() -> None:
    images, probabilities, labels = answers(2, wrong=1)
    figure = examples_figure(images, probabilities, labels, "made")
    wrong, right = captions(figure)
    assert (wrong.get_text(), right.get_text()) == ("A as B", "B")
    assert (wrong.get_fontweight(), right.get_fontweight()) == ("bold", "normal")
    marked, plain = frames(figure)
    assert marked.get_linewidth() > 2 * plain.get_linewidth()
    assert to_hex(marked.get_edgecolor()) == RED


def test_examples_are_the_same_each_time_and_the_letters_of_their_captions() -> None:
    images, probabilities, labels = answers(300, wrong=0)
    first, second = (captions(examples_figure(images, probabilities, labels, "made")) for _ in range(2))
    assert [text.get_text() for text in first] == [text.get_text() for text in second]


def test_a_sheet_lays_images_row_by_row() -> None:
    images = np.zeros((3, 28, 28), np.uint8)
    images[:, 0, 0] = [10, 20, 30]
    figure = letter_sheet(images, [Caption("a"), Caption("b"), Caption("c")], columns=2, title="", subtitle="")
    paper = figure.axes[0].images[0].get_array()
    places = [tuple(map(int, np.argwhere(paper == 255 - value)[0])) for value in (10, 20, 30)]
    assert places == [(0, 0), (0, 36), (44, 0)]
    assert [tuple(frame.get_xy()) for frame in frames(figure)] == [(0, 0), (36, 0), (0, 44)]


def test_each_image_needs_its_caption() -> None:
    with pytest.raises(ValueError, match="1 captions for 2 images"):
        letter_sheet(np.zeros((2, 28, 28), np.uint8), [Caption("a")], columns=2, title="", subtitle="")
