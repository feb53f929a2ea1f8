/** Points drawn by WebGL 2. A renderer of our own: libraries over WebGL build functions from text, which the policy forbids. */

import { scaleOf } from "./explore-camera.js";
import { FULL } from "./explore-density.js";

const VERTEX = `#version 300 es
const float FULL = ${FULL.toFixed(1)};
uniform vec2 middle;
uniform vec2 scale;
uniform float size;
uniform float ratio;
in vec2 place;
in vec4 look;
in float shape;
in float grown;
out vec4 colour;
flat out float kind;
flat out float across;
void main() {
  gl_Position = vec4((place - middle) * scale, 0.0, 1.0);
  float own = size * grown * FULL;
  across = max(shape > 1.5 ? max(own * 1.7, 9.0) : own, 1.5) * ratio + 1.0;
  gl_PointSize = across;
  colour = look;
  kind = shape;
}`;

const FRAGMENT = `#version 300 es
precision highp float;
uniform vec3 edge;
uniform float dark;
uniform float ratio;
in vec4 colour;
flat in float kind;
flat in float across;
out vec4 result;
void main() {
  vec2 from = abs(gl_PointCoord * 2.0 - 1.0);
  float away = kind > 1.5 ? from.x + from.y : length(from);
  float pixel = 2.0 / across;
  float inside = 1.0 - smoothstep(1.0 - pixel * 1.4, 1.0, away);
  float rim = kind > 1.5 ? 3.2 * ratio : 2.4 * ratio;
  float onRim = kind > 0.5 && across > 5.0 * ratio ? smoothstep(1.0 - pixel * (rim * 0.5 + 1.0), 1.0 - pixel * rim * 0.5, away) : 0.0;
  vec3 ring = kind > 1.5 ? edge : mix(colour.rgb * 0.55, mix(colour.rgb, vec3(1.0), 0.55), dark);
  float solid = colour.a * inside;
  result = vec4(mix(colour.rgb, ring, onRim) * solid, solid);
}`;

/** Raised where this browser or machine draws no WebGL 2. */
export class NoWebGL extends Error {}

export class Renderer {
  #gl;
  #uniforms = {};
  #buffers = {};
  #count = 0; // points that are drawn

  /** `onRestored` is called when the machine gave the picture's memory back, and all has to be handed over again. */
  constructor(canvas, { onRestored }) {
    const options = { antialias: false, depth: false, alpha: true, premultipliedAlpha: true, powerPreference: "low-power" };
    this.#gl = canvas.getContext("webgl2", options);
    if (this.#gl === null) throw new NoWebGL();
    this.canvas = canvas;
    this.#prepare();
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.#prepare();
      onRestored();
    });
  }

  #prepare() {
    const gl = this.#gl;
    const program = this.#link();
    gl.useProgram(program);
    for (const name of ["middle", "scale", "size", "ratio", "edge", "dark"]) this.#uniforms[name] = gl.getUniformLocation(program, name);
    this.#column(program, "place", 2, gl.FLOAT, false);
    this.#column(program, "look", 4, gl.UNSIGNED_BYTE, true);
    this.#column(program, "shape", 1, gl.UNSIGNED_BYTE, false);
    this.#column(program, "grown", 1, gl.UNSIGNED_BYTE, true);
    this.#buffers.order = gl.createBuffer();
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.#buffers.order);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.#count = 0;
  }

  #link() {
    const gl = this.#gl;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) throw new NoWebGL(gl.getProgramInfoLog(program));
    return program;
  }

  #column(program, name, width, kind, isShare) {
    const gl = this.#gl;
    const place = gl.getAttribLocation(program, name);
    this.#buffers[name] = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#buffers[name]);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, width, kind, isShare, 0, 0);
  }

  #fill(name, values) {
    const gl = this.#gl;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#buffers[name]);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
  }

  /** Places (2 floats a point) and shapes (1 byte a point). */
  setPoints(places, shapes) {
    this.#fill("place", places);
    this.#fill("shape", shapes);
  }

  /** Red, green, blue and opacity, 4 bytes a point. */
  setLooks(looks) {
    this.#fill("look", looks);
  }

  /** How large each point is, FULL times the size of all as 255: 1 byte a point. */
  setSizes(sizes) {
    this.#fill("grown", sizes);
  }

  /** The numbers of the points that are drawn, the last on top. */
  setOrder(indices) {
    this.#gl.bufferData(this.#gl.ELEMENT_ARRAY_BUFFER, indices, this.#gl.DYNAMIC_DRAW);
    this.#count = indices.length;
  }

  resize({ width, height }, ratio) {
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.#gl.viewport(0, 0, this.canvas.width, this.canvas.height);
  }

  /** `size` is a point's in CSS pixels, `edge` the colour of a collected letter's rim as three shares. */
  draw(view, box, { size, ratio, edge, isDark }) {
    const gl = this.#gl;
    const scale = 2 * scaleOf(view, box);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform2f(this.#uniforms.middle, view.x, view.y);
    gl.uniform2f(this.#uniforms.scale, scale / box.width, scale / box.height);
    gl.uniform1f(this.#uniforms.size, size);
    gl.uniform1f(this.#uniforms.ratio, ratio);
    gl.uniform3f(this.#uniforms.edge, ...edge);
    gl.uniform1f(this.#uniforms.dark, isDark ? 1 : 0);
    gl.drawElements(gl.POINTS, this.#count, gl.UNSIGNED_INT, 0);
  }
}
