/* Shapes turned and clips played on the page in a real browser (browser.mjs): by mouse, wheel, keys and fingers, each looked at by its pixels; the
 * same meshes in the report of a run, from its file.
 *
 *     rectiflow serve runs/solids runs/solids-picture runs/garments fixtures/sd3_tiny --listen 127.0.0.1:7860
 *     node --experimental-websocket benches/serve/turn.mjs http://127.0.0.1:7860/ pictures/ [runs/solids/report.html]
 *
 * `pictures/chair.png` is what `solids-picture` draws from. What is not served is passed over and said. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { choose, click, file, key, place, run, send, shot, sleep, tried, until } from "./browser.mjs";
const [address, out, report] = process.argv.slice(2);

/* What the first canvas shows, and how much of it is drawn over. */
const pixels = (selector) => run(`document.querySelector(${JSON.stringify(selector)}).toDataURL()`);
const covered = (selector) => run(`(() => { const c = document.querySelector(${JSON.stringify(selector)}), d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data; let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n / (c.width * c.height); })()`);
const must = (is, what) => { if (!is) throw new Error("not so: " + what); console.log("ok:", what); };
const drag = async (selector, dx, dy) => {
  const [x, y, w, h] = await place(selector), at = (share) => ({ x: x + w / 2 + share * dx, y: y + h / 2 + share * dy, button: "left", buttons: 1 });
  await send("Input.dispatchMouseEvent", { type: "mousePressed", clickCount: 1, ...at(0) });
  for (let i = 1; i <= 8; i += 1) await send("Input.dispatchMouseEvent", { type: "mouseMoved", ...at(i / 8) });
  await send("Input.dispatchMouseEvent", { type: "mouseReleased", clickCount: 1, ...at(1) });
  await sleep(200);
};
const fingers = async (selector, from, to) => {
  const [x, y, w, h] = await place(selector), on = ([fx, fy], id) => ({ x: x + fx * w, y: y + fy * h, id });
  await send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: from.map(on) });
  const between = (i) => from.map(([fx, fy], n) => [fx + (to[n][0] - fx) * i / 8, fy + (to[n][1] - fy) * i / 8]);
  for (let i = 1; i <= 8; i += 1) await send("Input.dispatchTouchEvent", { type: "touchMove", touchPoints: between(i).map(on) });
  await send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
  await sleep(200);
};

/* A mesh turns by whatever turns it, and Home brings it back. */
async function turned(mesh, name) {
  await until(`(() => { const c = document.querySelector(${JSON.stringify(mesh)}); return c && c.width > 50 && c.getAttribute("role") === "img"; })()`);
  await sleep(400);
  const home = await pixels(mesh), share = await covered(mesh);
  must(share > .05 && share < .9, name + ": the mesh covers " + (100 * share).toFixed(0) + " % of its canvas");
  await drag(mesh, 60, 20);
  const dragged = await pixels(mesh);
  must(dragged !== home, name + ": turned with the mouse");
  await shot(name + "-turned");
  await key("Home");
  await sleep(200);
  must((await pixels(mesh)) === home, name + ": Home brings it back to the pixel");
  for (const arrow of ["ArrowLeft", "ArrowUp"]) {
    const before = await pixels(mesh);
    await key(arrow);
    await sleep(150);
    must((await pixels(mesh)) !== before, name + ": turned by " + arrow);
  }
  await key("Home");
  await sleep(150);
  await key("+");
  await sleep(150);
  must((await covered(mesh)) > 1.1 * share, name + ": nearer by plus");
  const [x, y, w, h] = await place(mesh);
  await send("Input.dispatchMouseEvent", { type: "mouseWheel", x: x + w / 2, y: y + h / 2, deltaX: 0, deltaY: 400 });
  await sleep(200);
  must((await covered(mesh)) < share, name + ": further by the wheel");
  await key("Home");
}

const drawn = async (count) => { await click("#draw"); await until(`document.getElementById("status").textContent.startsWith(${count === 1 ? '"Drawn."' : `"${count} drawn."`})`, 120); };
const served = (name) => run(`models.has(${JSON.stringify(name)})`);

tried(async () => {
  await send("Page.navigate", { url: address });
  await until("document.getElementById('draw') && !document.getElementById('draw').disabled");
  if (await served("solids")) {
    await choose("model", "solids");
    await choose("class", "3");
    await choose("resolution", "64");
    await run("document.getElementById('count').value = 3; document.getElementById('fresh').click(); document.getElementById('seed').value = 5; 0");
    await drawn(3);
    await until("document.querySelectorAll('#gallery canvas.mesh').length === 3");
    await turned("#gallery canvas.mesh", "shape");
    await run("scrollTo(0, 0); 0");
    await shot("shapes");
    // By fingers, as on a phone.
    await send("Emulation.setTouchEmulationEnabled", { enabled: true, maxTouchPoints: 2 });
    await send("Emulation.setDeviceMetricsOverride", { width: 390, height: 844, deviceScaleFactor: 2, mobile: true });
    await sleep(500);
    let before = await pixels("#gallery canvas.mesh");
    await fingers("#gallery canvas.mesh", [[.3, .5]], [[.7, .52]]);
    must((await pixels("#gallery canvas.mesh")) !== before, "turned by a finger");
    before = await covered("#gallery canvas.mesh");
    await fingers("#gallery canvas.mesh", [[.4, .5], [.6, .5]], [[.2, .5], [.8, .5]]);
    must((await covered("#gallery canvas.mesh")) > 1.1 * before, "nearer by two fingers");
    await shot("shape-phone");
    must((await run("document.documentElement.scrollWidth")) <= 390, "nothing is wider than a phone");
    await send("Emulation.setTouchEmulationEnabled", { enabled: false });
    await send("Emulation.setDeviceMetricsOverride", { width: 1180, height: 900, deviceScaleFactor: 1, mobile: false });
  } else console.log("no solids");
  if ((await served("solids-picture")) && existsSync(out + "chair.png")) {
    await choose("model", "solids-picture");
    await run("document.getElementById('count').value = 1; 0");
    await click("#draw");
    await until("document.getElementById('wrong').textContent.includes('Choose a picture')");
    await file("shown", resolve(out + "chair.png"));
    await choose("resolution", "64");
    await drawn(1);
    await until("(() => { const c = document.querySelector('#gallery li canvas.mesh'); return c && c.width > 50; })()");
    await sleep(500);
    must((await covered("#gallery canvas.mesh")) > .05, "a shape is drawn from a picture");
    await shot("from-picture");
  } else console.log("no solids-picture");
  if (await served("garments")) {
    await choose("model", "garments");
    await choose("class", "0");
    await run("document.getElementById('count').value = 2; document.getElementById('steps').value = 20; 0");
    await drawn(2);
    await until("document.querySelectorAll('#gallery img').length === 2 && [...document.querySelectorAll('#gallery img')].every((i) => i.complete && i.naturalWidth === 16)");
    const clip = async () => { const [x, y, width, height] = await place("#gallery img"); return (await send("Page.captureScreenshot", { format: "png", clip: { x, y: y + (await run("scrollY")), width, height, scale: 1 } })).data; };
    const seen = new Set();
    for (let i = 0; i < 6; i += 1) { seen.add(await clip()); await sleep(170); }
    must(seen.size > 2, "a clip plays: " + seen.size + " different looks in a second");
    await click("#gallery figcaption button[aria-label^=Pause]");
    await sleep(400);
    const still = new Set();
    for (let i = 0; i < 4; i += 1) { still.add(await clip()); await sleep(170); }
    must(still.size === 1, "and stops where it is paused");
    await click("#gallery figcaption button[aria-label^=Pause]");
    await shot("clips");
  } else console.log("no garments");
  if ((await served("sd3_tiny")) && existsSync(out + "chair.png")) {
    await choose("model", "sd3_tiny");
    await choose("do", "edit");
    await run("for (const [id, value] of [['width', 32], ['height', 32]]) { document.getElementById(id).value = value; document.getElementById(id).dispatchEvent(new Event('change')); } document.getElementById('prompt').value = 'a red fox'; document.getElementById('count').value = 1; document.getElementById('steps').value = 4; 0");
    await file("picture", resolve(out + "chair.png"));
    await until("given !== null && given.width === 32");
    await drawn(1);
    must(await run("document.querySelector('#gallery figcaption').innerText.includes('32x32')"), "a released model changes a picture");
  } else console.log("no sd3_tiny");
  await run("scrollTo(0, 0); 0");
  await sleep(300);
  await shot("all");
  if (report) {
    await send("Page.navigate", { url: "file://" + resolve(report) });
    await until("document.readyState === 'complete' && document.querySelector('canvas.mesh') !== null");
    await turned("canvas.mesh", "report");
    await run("document.querySelector('canvas.mesh').scrollIntoView({ block: 'center' }); 0");
    await shot("report");
  }
});
