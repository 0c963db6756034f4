/* A mesh in a canvas, turned by mouse, by touch and by keys: `meshes.show(canvas, bytes)` of a .glb file with one mesh, as this program writes
 * them. All canvases of a page share one WebGL 2 context, since browsers give out few, and are drawn anew only when something changes. */
const meshes = (() => {
  /* As the sheets of pictures show them: degrees around the upright axis, and above the horizon. */
  const HOME = { azimuth: 30, elevation: 25, zoom: 1 };
  const ABOUT = "Drag or use the arrow keys to turn it, plus and minus to come nearer, Home to begin again.";
  const NONE = "This browser draws no meshes: it has no WebGL 2.";

  /* glTF 2.0, 4.4 (the container) and 5.1 (accessors). */
  function read(buffer) {
    const view = new DataView(buffer), wrong = () => new Error("This is no .glb file of one mesh of triangles.");
    if (buffer.byteLength < 20 || view.getUint32(0, true) !== 0x46546c67 || view.getUint32(4, true) !== 2) throw wrong();
    let json, bin;
    for (let from = 12; from + 8 <= buffer.byteLength;) {
      const length = view.getUint32(from, true), kind = view.getUint32(from + 4, true);
      if (from + 8 + length > buffer.byteLength) throw wrong();
      if (kind === 0x4e4f534a) json = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, from + 8, length)));
      if (kind === 0x004e4942) bin = buffer.slice(from + 8, from + 8 + length);
      from += 8 + length;
    }
    const part = json && bin && json.meshes && json.meshes[0].primitives[0];
    if (!part || part.mode > 4 || part.mode < 4) throw wrong();
    const numbers = (at, Type, kind, width) => {
      const accessor = json.accessors[at], place = accessor && json.bufferViews[accessor.bufferView];
      if (!place || accessor.componentType !== kind || place.byteStride) throw wrong();
      return new Type(bin, (place.byteOffset || 0) + (accessor.byteOffset || 0), accessor.count * width);
    };
    return {
      points: numbers(part.attributes.POSITION, Float32Array, 5126, 3),
      normals: numbers(part.attributes.NORMAL, Float32Array, 5126, 3),
      corners: numbers(part.indices, Uint32Array, 5125, 1),
    };
  }

  /* The middle of a mesh's box, and how far its corners are from it. */
  function extent(points) {
    const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
    for (let i = 0; i < points.length; i += 1) {
      low[i % 3] = Math.min(low[i % 3], points[i]);
      high[i % 3] = Math.max(high[i % 3], points[i]);
    }
    const middle = low.map((v, i) => (v + high[i]) / 2), radius = Math.hypot(...low.map((v, i) => (high[i] - v) / 2));
    if (!(radius > 0 && radius < Infinity)) throw new Error("This mesh has no extent.");
    return { middle, radius };
  }

  const VERTEX = `#version 300 es
    in vec3 place, normal;
    uniform vec3 middle;
    uniform vec4 turn; /* cosine and sine of the azimuth, of the elevation */
    uniform vec3 lens; /* one over the radius, distance of the eye in radii, focal length */
    out vec3 facing, seen;
    vec3 turned(vec3 v) {
      float x = turn.x * v.x - turn.y * v.z, z = turn.y * v.x + turn.x * v.z;
      return vec3(x, turn.z * v.y - turn.w * z, turn.w * v.y + turn.z * z);
    }
    void main() {
      facing = turned(normal);
      seen = turned((place - middle) * lens.x) - vec3(0, 0, lens.y);
      float near = max(.05, lens.y - 1.1), far = lens.y + 1.1;
      gl_Position = vec4(lens.z * seen.xy, -((far + near) * seen.z + 2. * far * near) / (far - near), -seen.z);
    }`;
  const FRAGMENT = `#version 300 es
    precision highp float;
    in vec3 facing, seen;
    out vec4 ink;
    void main() {
      vec3 n = normalize(facing), eye = normalize(-seen);
      if (dot(n, eye) < 0.) n = -n; /* open meshes are seen from inside too */
      float key = max(dot(n, normalize(vec3(-.5, .8, .6))), 0.), fill = max(dot(n, normalize(vec3(.8, -.1, .4))), 0.);
      float shine = pow(max(dot(n, normalize(vec3(-.5, .8, .6) + eye)), 0.), 40.);
      ink = vec4(vec3(.56, .64, .78) * (.3 + .62 * key + .22 * fill) + .15 * shine, 1);
    }`;

  const stage = document.createElement("canvas");
  let gl = null, program = null, age = 0;

  /* The context and its program, made anew after it was lost; `age` says how often. */
  function ready() {
    if (gl && program && !gl.isContextLost()) return true;
    gl = gl || stage.getContext("webgl2", { antialias: true });
    if (!gl || gl.isContextLost()) return false;
    program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(NONE);
    age += 1;
    return true;
  }
  const all = new Set();
  stage.addEventListener("webglcontextlost", (event) => { event.preventDefault(); program = null; });
  stage.addEventListener("webglcontextrestored", () => all.forEach((draw) => draw()));

  function upload(mesh) {
    mesh.array = gl.createVertexArray();
    gl.bindVertexArray(mesh.array);
    for (const [name, values] of [["place", mesh.points], ["normal", mesh.normals]]) {
      gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
      const at = gl.getAttribLocation(program, name);
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, 3, gl.FLOAT, false, 0, 0);
    }
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, mesh.corners, gl.STATIC_DRAW);
    mesh.age = age;
  }

  function render(canvas, mesh, eye) {
    if (!ready()) return;
    if (mesh.age !== age) upload(mesh);
    const side = Math.max(1, Math.round(canvas.clientWidth * (window.devicePixelRatio || 1)));
    for (const one of [canvas, stage]) if (one.width !== side || one.height !== side) [one.width, one.height] = [side, side];
    const [a, e] = [eye.azimuth, eye.elevation].map((degrees) => degrees * Math.PI / 180), focal = 3.2;
    const set = (name, values) => gl["uniform" + values.length + "f"](gl.getUniformLocation(program, name), ...values);
    gl.viewport(0, 0, side, side);
    gl.enable(gl.DEPTH_TEST);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.useProgram(program);
    gl.bindVertexArray(mesh.array);
    set("middle", mesh.middle);
    set("turn", [Math.cos(a), Math.sin(a), Math.cos(e), Math.sin(e)]);
    set("lens", [1 / mesh.radius, 1.02 * Math.hypot(focal, 1) / eye.zoom, focal]);
    gl.drawElements(gl.TRIANGLES, mesh.corners.length, gl.UNSIGNED_INT, 0);
    const ink = canvas.getContext("2d");
    ink.clearRect(0, 0, side, side);
    ink.drawImage(stage, 0, 0);
  }

  /* Draws `mesh` whenever whoever looks at it moves. */
  function listen(canvas, mesh) {
    const eye = { ...HOME };
    let due = false;
    const draw = () => {
      if (due) return;
      due = true;
      requestAnimationFrame(() => { due = false; render(canvas, mesh, eye); });
    };
    const move = (right, up, nearer = 1) => {
      eye.azimuth = (eye.azimuth - right) % 360;
      eye.elevation = Math.max(-90, Math.min(90, eye.elevation + up));
      eye.zoom = Math.max(.5, Math.min(2.4, eye.zoom * nearer));
      draw();
    };
    /* One pointer turns, two turn and zoom; where a page is scrolled by a finger, that finger turns sideways (touch-action). */
    const held = new Map();
    const apart = () => { const [a, b] = [...held.values()]; return Math.hypot(a.x - b.x, a.y - b.y); };
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button > 0) return;
      held.set(event.pointerId, { x: event.clientX, y: event.clientY });
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      const from = held.get(event.pointerId);
      if (!from) return;
      const degrees = 180 / Math.max(1, canvas.clientWidth) / held.size, before = held.size === 2 ? apart() : 0;
      held.set(event.pointerId, { x: event.clientX, y: event.clientY });
      move((event.clientX - from.x) * degrees, (event.clientY - from.y) * degrees, before > 0 ? apart() / before : 1);
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => held.delete(event.pointerId));
    /* Only where it has the focus: elsewhere the wheel scrolls the page. */
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas) return;
      event.preventDefault();
      move(0, 0, Math.exp(-event.deltaY / 500));
    }, { passive: false });
    const keys = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, -10], ArrowDown: [0, 10], "+": [0, 0, 1.15], "=": [0, 0, 1.15], "-": [0, 0, 1 / 1.15] };
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Home") Object.assign(eye, HOME);
      else if (!keys[event.key]) return;
      event.preventDefault();
      move(...(keys[event.key] || [0, 0]));
    });
    new ResizeObserver(draw).observe(canvas);
    all.add(draw);
  }

  /* What cannot be shown is said in its place. */
  function show(canvas, bytes) {
    try {
      if (!ready()) throw new Error(NONE);
      const mesh = read(bytes);
      Object.assign(mesh, extent(mesh.points));
      canvas.tabIndex = 0;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", (canvas.getAttribute("aria-label") || "A mesh") + ". " + ABOUT);
      canvas.title = ABOUT;
      listen(canvas, mesh);
    } catch (error) {
      const said = document.createElement("p");
      said.textContent = error.message;
      canvas.replaceWith(said);
    }
  }
  return { show };
})();
