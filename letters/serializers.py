"""What the API takes and gives, as fields; the limits of a drawing itself are ml.preprocess's."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from drf_spectacular.utils import extend_schema_field
from PIL import Image
from rest_framework import serializers

from letters.collect import receipt_of
from letters.models import Drawing, ModelVersion
from ml.labels import CHARACTERS, CLASSES
from ml.preprocess import MAX_POINTS, MAX_STROKES

_STROKES_SCHEMA = {
    "type": "array",
    "minItems": 1,
    "maxItems": MAX_STROKES,
    "description": f"Strokes of points [x, y, t?, pressure?] in pixels of the canvas; {MAX_POINTS} points in all.",
    "items": {
        "type": "array",
        "minItems": 1,
        "items": {"type": "array", "minItems": 2, "maxItems": 4, "items": {"type": "number"}},
    },
    "example": [[[40, 160], [100, 20], [160, 160]], [[62, 110], [138, 110]]],
}


@extend_schema_field(_STROKES_SCHEMA)
class StrokesField(serializers.Field[Any, Any, Any, Any]):
    """Strokes as they come; ml.preprocess.validate_strokes judges them, canvas and all."""

    def to_internal_value(self, data: Any) -> Any:
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class StrictFloatField(serializers.FloatField):
    """A JSON number: neither a string that looks like one, nor true."""

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictTextField(serializers.CharField):
    """A JSON string: not a number that could be written as one."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class CanvasSerializer(serializers.Serializer[Any]):
    """The size of the canvas in CSS pixels."""

    width = StrictFloatField(min_value=1, max_value=1_000_000)
    height = StrictFloatField(min_value=1, max_value=1_000_000)


class StrokesRequestSerializer(serializers.Serializer[Any]):
    """A drawing as strokes."""

    strokes = StrokesField()
    canvas = CanvasSerializer()


class ImageRequestSerializer(serializers.Serializer[Any]):
    """A drawing as a picture in a JSON body."""

    image = StrictTextField(
        trim_whitespace=False, help_text="PNG or JPEG as base64 or as a data URL, at most 4 megapixels."
    )


class UploadRequestSerializer(serializers.Serializer[Any]):
    """A drawing as an uploaded picture."""

    image = serializers.FileField(help_text="PNG or JPEG, at most 4 megapixels and 2 MiB.")


class ModelReferenceSerializer(serializers.Serializer[Any]):
    """Which model: its number here, and the first characters of its digest."""

    version = serializers.IntegerField()
    digest = serializers.CharField()


class NeighbourSerializer(serializers.Serializer[Any]):
    """An EMNIST letter that is like a drawing to the model."""

    label = serializers.ChoiceField(choices=CLASSES)  # type: ignore[assignment]
    index = serializers.IntegerField(help_text="Its number among the EMNIST letters of a map of the features.")
    distance = serializers.FloatField(help_text="Between their features.")


class FamiliaritySerializer(serializers.Serializer[Any]):
    """Whether a drawing looks like the letters that the model knows."""

    score = serializers.FloatField(
        min_value=0,
        max_value=1,
        help_text="The share of real letters that look no more familiar: 0.5 is usual, near 0 is like none of them.",
    )
    known = serializers.BooleanField(help_text="False below 0.05: probably no letter, or a hand it never saw.")


class PredictionSerializer(serializers.Serializer[Any]):
    """What the serving model reads."""

    label = serializers.ChoiceField(choices=CLASSES)  # type: ignore[assignment] # the stubs mean Field.label
    probability = serializers.FloatField()
    probabilities = serializers.DictField(child=serializers.FloatField(), help_text="All 37 classes.")
    image = serializers.CharField(help_text="The 28x28 image as the model saw it: a data URL of a PNG.")
    model = ModelReferenceSerializer()
    point = serializers.ListField(
        child=serializers.FloatField(), min_length=2, max_length=2, help_text="Where it lands on the map."
    )
    neighbours = NeighbourSerializer(many=True, help_text="The reference letters most like it, the nearest first.")
    familiarity = FamiliaritySerializer()
    preprocess = serializers.CharField(help_text="Version of the recipe that made the image.")
    token = serializers.CharField(help_text="Hand it back with the drawing that is to be kept.")
    milliseconds = serializers.FloatField(help_text="Time the server took.")


class DrawingRequestSerializer(StrokesRequestSerializer):
    """A drawing to keep, the letter that it is, and the consent to keep it."""

    character = serializers.ChoiceField(choices=CHARACTERS)
    token = StrictTextField(max_length=2048)
    consent = serializers.BooleanField()
    consent_version = StrictTextField(
        max_length=10, required=False, default="", help_text="Of the words that were agreed to, to be sure of them."
    )

    def validate_consent(self, value: bool) -> bool:
        if not isinstance(self.initial_data.get("consent"), bool):
            raise serializers.ValidationError("Must be true or false.")
        return value


class KeptSerializer(serializers.Serializer[Any]):
    """A drawing that was kept, and the receipt by which it can be seen and deleted."""

    id = serializers.UUIDField()
    character = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    state = serializers.ChoiceField(choices=Drawing.State.choices)
    created_at = serializers.DateTimeField()
    receipt = serializers.CharField()
    url = serializers.CharField(help_text="The page of the drawing; the receipt stands behind the #.")


class OwnDrawingSerializer(KeptSerializer):
    """A drawing as its contributor sees it in a list."""

    predicted = serializers.CharField()
    probability = serializers.FloatField()
    image = serializers.CharField(help_text="The 28x28 image: a data URL of a PNG.")
    model = ModelReferenceSerializer()


class FullDrawingSerializer(OwnDrawingSerializer):
    """A drawing as its contributor sees it, strokes and all."""

    strokes = StrokesField()
    canvas = CanvasSerializer()


class ModelSerializer(ModelReferenceSerializer):
    """A registered model."""

    name = serializers.CharField()
    origin = serializers.ChoiceField(choices=ModelVersion.Origin.choices)
    created_at = serializers.DateTimeField()
    serving = serializers.BooleanField()
    metrics = serializers.DictField(help_text="Accuracy on the test images, 37 classes, and with case ignored.")


class ModelsSerializer(serializers.Serializer[Any]):
    """All registered models, newest first."""

    models = ModelSerializer(many=True)


class MapSerializer(serializers.Serializer[Any]):
    """The reference letters of the serving model in the plane."""

    method = serializers.CharField()
    model = ModelReferenceSerializer()
    points = serializers.ListField(
        child=serializers.ListField(child=serializers.FloatField(), min_length=3, max_length=3),
        help_text="[x, y, position of the class in A..Z a b d e f g h n q r t]; x and y in -1..1.",
    )


class ErrorSerializer(serializers.Serializer[Any]):
    """What was wrong, and what to do."""

    code = serializers.CharField()
    message = serializers.CharField()
    field = serializers.CharField(required=False)


# --- Values of answers ---------------------------------------------------------------------------------------------


def png(image: bytes) -> bytes:
    """A PNG of 784 grey values."""
    buffer = io.BytesIO()
    Image.fromarray(np.frombuffer(image, np.uint8).reshape(28, 28)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def data_url(image: bytes) -> str:
    """A PNG of 784 grey values, as an address that an <img> takes."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()


def model_reference(model: ModelVersion) -> dict[str, Any]:
    return {"version": model.number, "digest": model.digest[:12]}


def kept(drawing: Drawing) -> dict[str, Any]:
    receipt = receipt_of(drawing.pk)
    return {
        "id": str(drawing.pk),
        "character": drawing.character,
        "label": drawing.label,
        "state": drawing.state,
        "created_at": drawing.created_at,
        "receipt": receipt,
        "url": f"/drawings/{drawing.pk}#{receipt}",
    }


def own_drawing(drawing: Drawing) -> dict[str, Any]:
    return kept(drawing) | {
        "predicted": drawing.predicted,
        "probability": drawing.probability,
        "image": data_url(bytes(drawing.image)),
        "model": model_reference(drawing.model),
    }


def full_drawing(drawing: Drawing) -> dict[str, Any]:
    canvas = {"width": drawing.canvas_width, "height": drawing.canvas_height}
    return own_drawing(drawing) | {"strokes": drawing.strokes, "canvas": canvas}


def model_value(model: ModelVersion, *, serving: bool) -> dict[str, Any]:
    return model_reference(model) | {
        "name": model.name,
        "origin": model.origin,
        "created_at": model.created_at,
        "serving": serving,
        "metrics": {name: model.metrics.get("test", {}).get(name) for name in ("count", "accuracy", "folded_accuracy")},
    }
