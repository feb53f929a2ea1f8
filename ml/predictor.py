"""LiteRT in one process: an image in, probabilities and features out. TensorFlow is not imported.

An interpreter is not thread-safe: one `Predictor` a process, or a thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from ml.labels import CLASS_COUNT, CLASSES


@dataclass(frozen=True)
class Prediction:
    """What a model makes of one image: `probabilities` (37,) float32 that sum to 1, `features` (128,) float32."""

    probabilities: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]

    @property
    def label(self) -> str:
        """The likeliest class."""
        return CLASSES[int(self.probabilities.argmax())]

    @property
    def probability(self) -> float:
        """The probability of the likeliest class."""
        return float(self.probabilities.max())


class Predictor:
    """The `model.tflite` of an artefact's folder, ready to be asked."""

    def __init__(self, folder: Path) -> None:
        self._interpreter = Interpreter(model_path=str(folder / "model.tflite"), num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        outputs = self._interpreter.get_output_details()
        self._probabilities = next(each["index"] for each in outputs if each["shape"][-1] == CLASS_COUNT)
        self._features = next(each["index"] for each in outputs if each["shape"][-1] != CLASS_COUNT)

    def predict(self, image: npt.NDArray[np.uint8]) -> Prediction:
        """Predict one image (28, 28) uint8. Raises ValueError for any other shape or type."""
        if image.shape != (28, 28) or image.dtype != np.uint8:
            raise ValueError(f"an image is 28x28 uint8, not {image.shape} {image.dtype}")
        self._interpreter.set_tensor(self._input, (image.astype(np.float32) / 255.0).reshape(1, 28, 28, 1))
        self._interpreter.invoke()
        # get_tensor copies: what it returns outlives the next call
        return Prediction(
            self._interpreter.get_tensor(self._probabilities)[0], self._interpreter.get_tensor(self._features)[0]
        )
