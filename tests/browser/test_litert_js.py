"""The file that serves the workers runs in a browser too: LiteRT.js on WebAssembly, and no server that predicts."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from playwright.sync_api import Browser

from ml.artifact import SHIPPED
from ml.labels import CLASS_COUNT
from ml.predictor import Predictor
from ml.preprocess import image_from_strokes
from tests.ml.glyphs import GLYPHS
from tests.running import ROOT

TOLERANCE = 1e-3
PAGE = """<!doctype html><title>LiteRT.js</title><body>
<script type="importmap">{"imports": {"@litertjs/core": "/litert/core/dist/index.js",
  "@litertjs/wasm-utils": "/litert/wasm-utils/dist/index.js"}}</script>
<script type="module" src="/read.js"></script>"""
SCRIPT = """
import {loadLiteRt, loadAndCompile, Tensor} from "@litertjs/core";

async function readOne(model, image) {
  const input = new Tensor(Float32Array.from(image), [1, 28, 28, 1]);
  const outputs = await model.run(input);
  const values = await Promise.all(outputs.map(async (each) => Array.from(await each.data())));
  [input, ...outputs].forEach((each) => each.delete());
  return values;
}

window.read = async (images) => {
  await loadLiteRt("/litert/core/wasm/");
  const model = await loadAndCompile("/model.tflite", {accelerator: "wasm"});
  const found = [];
  for (const image of images) found.push(await readOne(model, image));
  return found;
};
"""

Images = npt.NDArray[np.uint8]
Read = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where LiteRT.js, the model and a page that joins them are served."""
    asked = [sys.executable, str(ROOT / "scripts" / "litert_js.py"), "--present"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("there is no LiteRT.js on this machine: run `make test`, or scripts/litert_js.py where npm is")
    (tmp_path / "litert").symlink_to(found.stdout.strip())
    (tmp_path / "model.tflite").symlink_to(SHIPPED / "model.tflite")
    (tmp_path / "index.html").write_text(PAGE)
    (tmp_path / "read.js").write_text(SCRIPT)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def images() -> Images:
    return np.stack([image_from_strokes(strokes) for strokes in GLYPHS.values()])


def by_browser(chromium: Browser, address: str, images: Images) -> Read:
    page = chromium.new_page()
    page.goto(address)
    page.wait_for_function("() => Boolean(window.read)")
    scaled = (images.astype(np.float32) / 255.0).reshape(len(images), -1)
    found = page.evaluate("images => window.read(images)", scaled.tolist())
    page.close()
    ordered = [sorted(each, key=len) for each in found]  # 37 probabilities, 128 features
    return np.array([each[0] for each in ordered]), np.array([each[1] for each in ordered])


def by_litert(images: Images) -> Read:
    predictor = Predictor(SHIPPED)
    read = [predictor.predict(image) for image in images]
    return np.stack([each.probabilities for each in read]), np.stack([each.features for each in read])


def by_keras(images: Images) -> Read:
    import keras

    model = keras.models.load_model(SHIPPED / "model.keras", compile=False)
    probabilities, features = model.predict(images[..., None].astype(np.float32) / 255.0, verbose=0)
    return probabilities, features


def test_browser_python_and_keras_read_the_same(chromium: Browser, address: str, images: Images) -> None:
    in_browser = by_browser(chromium, address, images)
    assert in_browser[0].shape == (len(GLYPHS), CLASS_COUNT)
    for other in (by_litert(images), by_keras(images)):
        assert (in_browser[0].argmax(axis=1) == other[0].argmax(axis=1)).all()
        for mine, theirs in zip(in_browser, other, strict=True):
            assert np.abs(mine - theirs).max() < TOLERANCE
