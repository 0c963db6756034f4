/* The page in a real browser: drawn with by mouse and keyboard, cancelled, refused, painted on, edited, read back, at a phone's width; told to
 * Chromium over its own protocol, so that nothing is installed beside it (Debian: apt-get install chromium nodejs).
 *
 *     rectiflow serve runs/base runs/tones --runs runs --listen 127.0.0.1:7860
 *     node --experimental-websocket benches/serve/page.mjs http://127.0.0.1:7860/ pictures/
 *
 * `runs/base` draws by class at 28x28; a separator called `tones` and `pictures/mixed.wav` are used where they are there. Node 22 and newer
 * need no option. */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
const [address, out] = process.argv.slice(2);
const profile = mkdtempSync(tmpdir() + "/page-");
const chrome = spawn("/usr/bin/chromium", ["--headless=new", "--no-sandbox", "--remote-debugging-port=9333", "--user-data-dir=" + profile, "--window-size=1180,900", "about:blank"], { stdio: "ignore" });
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
let target, failed = false;
for (let i = 0; i < 100 && !target; i += 1) {
  await sleep(200);
  try { target = (await (await fetch("http://127.0.0.1:9333/json")).json()).find((one) => one.type === "page"); } catch {}
}
const socket = new WebSocket(target.webSocketDebuggerUrl);
await new Promise((done) => { socket.onopen = done; });
let next = 0;
const waiting = new Map(), said = [];
socket.onmessage = ({ data }) => {
  const message = JSON.parse(data);
  if (message.id) { waiting.get(message.id)(message); return; }
  if (message.method === "Runtime.exceptionThrown") said.push(message.params.exceptionDetails.exception?.description || message.params.exceptionDetails.text);
  if (message.method === "Log.entryAdded") said.push(message.params.entry.text);
  if (message.method === "Runtime.consoleAPICalled") said.push(JSON.stringify(message.params.args.map((a) => a.value)));
};
const send = (method, params = {}) => new Promise((done, failed) => {
  next += 1;
  waiting.set(next, (message) => (message.error ? failed(new Error(method + ": " + message.error.message)) : done(message.result)));
  socket.send(JSON.stringify({ id: next, method, params }));
});
const run = async (code) => {
  const { result, exceptionDetails } = await send("Runtime.evaluate", { expression: code, awaitPromise: true, returnByValue: true });
  if (exceptionDetails) throw new Error(code + ": " + (exceptionDetails.exception?.description || exceptionDetails.text));
  return result.value;
};
const until = async (code, seconds = 60) => {
  for (let i = 0; i < seconds * 10; i += 1) { if (await run(code)) return; await sleep(100); }
  throw new Error("never: " + code + "; " + await run("document.getElementById('status').textContent + ' | ' + document.getElementById('wrong').textContent"));
};
const shot = async (name) => writeFileSync(out + name + ".png", Buffer.from((await send("Page.captureScreenshot", { format: "png", captureBeyondViewport: false })).data, "base64"));
const click = async (selector) => {
  const box = await run(`(() => { const e = document.querySelector(${JSON.stringify(selector)}); e.scrollIntoView({ block: "center" }); const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()`);
  for (const type of ["mousePressed", "mouseReleased"]) await send("Input.dispatchMouseEvent", { type, x: box[0], y: box[1], button: "left", buttons: 1, clickCount: 1 });
};
const choose = (id, value) => run(`(() => { const e = document.getElementById("${id}"); e.value = ${JSON.stringify(value)}; e.dispatchEvent(new Event("change")); return e.value; })()`);
const file = async (id, path) => {
  const { root } = await send("DOM.getDocument");
  const { nodeId } = await send("DOM.querySelector", { nodeId: root.nodeId, selector: "#" + id });
  await send("DOM.setFileInputFiles", { files: [path], nodeId });
};
try {
  for (const domain of ["Page", "Runtime", "Log", "DOM"]) await send(domain + ".enable");
  await send("Emulation.setDeviceMetricsOverride", { width: 1180, height: 900, deviceScaleFactor: 1, mobile: false });
  await send("Page.navigate", { url: address });
  await until("document.getElementById('draw') && !document.getElementById('draw').disabled");
  // Draw four, with previews seen on the way.
  await choose("class", "1");
  await run("document.getElementById('count').value = 4; document.getElementById('steps').value = 400; 0");
  await click("#draw");
  await until("document.querySelectorAll('#way img').length === 4");
  await sleep(300);
  await shot("way");
  await until("document.getElementById('status').textContent === '4 drawn.'");
  console.log("drawn", await run("document.querySelectorAll('#gallery img').length"), "previews gone:", await run("document.querySelectorAll('#way img').length"));
  // By keyboard alone, number 0 of the same seed is the same to the byte.
  await run("document.getElementById('fresh').click(); document.getElementById('count').value = 1; document.getElementById('model').focus(); 0");
  const key = async (name) => { for (const type of ["keyDown", "keyUp"]) await send("Input.dispatchKeyEvent", { type, key: name, code: name, windowsVirtualKeyCode: { Tab: 9, Enter: 13 }[name], text: name === "Enter" && type === "keyDown" ? "\r" : undefined }); };
  for (let i = 0; i < 8 && (await run("document.activeElement.id")) !== "steps"; i += 1) await key("Tab");
  await key("Enter");
  await until("document.getElementById('status').textContent === 'Drawn.'");
  const bytes = (at) => run(`fetch([...document.querySelectorAll("#gallery img")].at(${at}).src).then((a) => a.arrayBuffer()).then((b) => Array.from(new Uint8Array(b)).join())`);
  console.log("drawn by keyboard, the same to the byte:", (await bytes(0)) === (await bytes(1)));
  // What takes too long is cancelled, what makes no sense is said.
  await run("document.getElementById('steps').value = 1000; document.getElementById('count').value = 16; 0");
  await click("#draw");
  await until("/Step [1-9]/.test(document.getElementById('status').textContent)");
  await click("#cancel");
  await until("document.getElementById('status').textContent === 'Cancelled.'");
  await run("document.getElementById('steps').removeAttribute('max'); document.getElementById('steps').value = 1000001; 0");
  await click("#draw");
  await until("document.getElementById('wrong').textContent !== ''");
  console.log("cancelled; refused:", await run("document.getElementById('wrong').textContent"));
  // Change the last: paint over it with the mouse.
  await run("[...document.querySelectorAll('#gallery button')].find((b) => b.textContent === 'Change').click(); 0");
  await until("given !== null && !document.getElementById('canvas').hidden");
  const box = await run("(() => { const c = document.getElementById('canvas'); c.scrollIntoView({ block: 'center' }); const r = c.getBoundingClientRect(); return [r.x, r.y, r.width, r.height]; })()");
  const at = (fx, fy) => ({ x: box[0] + fx * box[2], y: box[1] + fy * box[3], button: "left", buttons: 1 });
  await send("Input.dispatchMouseEvent", { type: "mousePressed", clickCount: 1, ...at(.3, .4) });
  for (let i = 0; i <= 20; i += 1) await send("Input.dispatchMouseEvent", { type: "mouseMoved", ...at(.3 + i * .02, .4 + (i % 2) * .1) });
  await send("Input.dispatchMouseEvent", { type: "mouseReleased", clickCount: 1, ...at(.7, .5) });
  console.log("painted", await run("given.hole.reduce((a, b) => a + b, 0)"), "of", await run("given.hole.length"));
  await run("document.getElementById('count').value = 2; document.getElementById('steps').value = 30; 0");
  await shot("paint");
  await click("#draw");
  await until("document.getElementById('status').textContent === '2 drawn.'");
  console.log("restored:", await run("document.querySelector('#gallery figcaption').innerText.replaceAll('\\n', ' | ')"));
  // Edit as a whole.
  await choose("do", "edit");
  await choose("class", "8");
  await run("document.getElementById('count').value = 1; 0");
  await click("#draw");
  await until("document.getElementById('status').textContent === 'Drawn.'");
  console.log("edited:", await run("document.querySelector('#gallery figcaption').innerText.replaceAll('\\n', ' | ')"));
  // Settings read back from the last of the four that were drawn from nothing.
  const url = await run("[...document.querySelectorAll('#gallery a')].at(-1).href");
  const seed = url.split("/").at(-3) && await run("[...document.querySelectorAll('#gallery figcaption p')].at(-1).textContent");
  writeFileSync(out + "saved.png", Buffer.from(await (await fetch(url)).arrayBuffer()));
  await choose("class", "");
  await run("document.querySelector('details').open = true; 0");
  await file("read", out + "saved.png");
  await until("document.getElementById('said').textContent !== ''");
  console.log("read back:", await run("document.getElementById('said').textContent"), await run("[document.getElementById('steps').value, document.getElementById('seed').value, document.getElementById('class').value, document.getElementById('count').value].join()"), "from", seed);
  await shot("gallery");
  // Runs.
  if ((await run("fetch('api/runs').then((a) => a.json()).then((a) => a.data.length)")) > 0) {
    await run("document.getElementById('runs').scrollIntoView(); 0");
    await until("document.querySelectorAll('#curve polyline').length === 2");
    await sleep(500);
    await shot("runs");
    console.log("runs:", await run("document.getElementById('about-run').textContent"), await run("document.getElementById('sheet').naturalWidth"));
  }
  // Sounds, where one is served.
  if (existsSync(out + "mixed.wav") && (await run("models.has('tones')"))) {
    await choose("model", "tones");
    await file("sound", out + "mixed.wav");
    await run("document.getElementById('query').value = 'low, high'; 0");
    await shot("sound-form");
    await click("#draw");
    await until("document.querySelectorAll('#gallery audio').length === 2");
    await until("[...document.querySelectorAll('#gallery audio')].every((a) => a.duration > 0)");
    console.log("sounds:", await run("[...document.querySelectorAll('#gallery audio')].map((a) => a.duration).join()"));
    await run("scrollTo(0, 0); 0");
    await shot("sound");
  }
  await send("Emulation.setDeviceMetricsOverride", { width: 390, height: 844, deviceScaleFactor: 1, mobile: true });
  await sleep(300);
  console.log("phone:", await run("document.documentElement.scrollWidth"));
  await shot("phone");
  console.log("console:", said);
} catch (error) {
  failed = true;
  console.log("FAILED", error.message, said);
  await shot("failed");
}
socket.close();
chrome.kill();
process.exit(failed ? 1 : 0);
