/* A real browser for the scripts beside this: Chromium, told what to do over its own protocol, so that nothing is installed beside it (Debian:
 * apt-get install chromium nodejs). What it complains of is in `said`; pictures of it go into the folder that the script's second argument names. */
import { spawn } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
const out = process.argv[3];
const profile = mkdtempSync(tmpdir() + "/page-");
const chrome = spawn("/usr/bin/chromium", ["--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--remote-debugging-port=9333", "--user-data-dir=" + profile, "--window-size=1180,900", "about:blank"], { stdio: "ignore" });
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
let target;
for (let i = 0; i < 100 && !target; i += 1) {
  await sleep(200);
  try { target = (await (await fetch("http://127.0.0.1:9333/json")).json()).find((one) => one.type === "page"); } catch {}
}
const socket = new WebSocket(target.webSocketDebuggerUrl);
await new Promise((done) => { socket.onopen = done; });
let next = 0;
const waiting = new Map();
export const said = [];
socket.onmessage = ({ data }) => {
  const message = JSON.parse(data);
  if (message.id) { waiting.get(message.id)(message); return; }
  if (message.method === "Runtime.exceptionThrown") said.push(message.params.exceptionDetails.exception?.description || message.params.exceptionDetails.text);
  if (message.method === "Log.entryAdded") said.push(message.params.entry.text);
  if (message.method === "Runtime.consoleAPICalled") said.push(JSON.stringify(message.params.args.map((a) => a.value)));
};
export const send = (method, params = {}) => new Promise((done, failed) => {
  next += 1;
  waiting.set(next, (message) => (message.error ? failed(new Error(method + ": " + message.error.message)) : done(message.result)));
  socket.send(JSON.stringify({ id: next, method, params }));
});
export const run = async (code) => {
  const { result, exceptionDetails } = await send("Runtime.evaluate", { expression: code, awaitPromise: true, returnByValue: true });
  if (exceptionDetails) throw new Error(code + ": " + (exceptionDetails.exception?.description || exceptionDetails.text));
  return result.value;
};
export const until = async (code, seconds = 60) => {
  for (let i = 0; i < seconds * 10; i += 1) { if (await run(code)) return; await sleep(100); }
  throw new Error("never: " + code + "; " + await run("document.getElementById('status').textContent + ' | ' + document.getElementById('wrong').textContent"));
};
export const shot = async (name) => writeFileSync(out + name + ".png", Buffer.from((await send("Page.captureScreenshot", { format: "png", captureBeyondViewport: false })).data, "base64"));
export const click = async (selector) => {
  const box = await run(`(() => { const e = document.querySelector(${JSON.stringify(selector)}); e.scrollIntoView({ block: "center" }); const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()`);
  for (const type of ["mousePressed", "mouseReleased"]) await send("Input.dispatchMouseEvent", { type, x: box[0], y: box[1], button: "left", buttons: 1, clickCount: 1 });
};
export const choose = (id, value) => run(`(() => { const e = document.getElementById("${id}"); e.value = ${JSON.stringify(value)}; e.dispatchEvent(new Event("change")); return e.value; })()`);
export const file = async (id, path) => {
  const { root } = await send("DOM.getDocument");
  const { nodeId } = await send("DOM.querySelector", { nodeId: root.nodeId, selector: "#" + id });
  await send("DOM.setFileInputFiles", { files: [path], nodeId });
};
for (const domain of ["Page", "Runtime", "Log", "DOM"]) await send(domain + ".enable");
await send("Emulation.setDeviceMetricsOverride", { width: 1180, height: 900, deviceScaleFactor: 1, mobile: false });

/* Keys as a keyboard sends them. */
const CODES = { Tab: 9, Enter: 13, Home: 36, ArrowLeft: 37, ArrowUp: 38, ArrowRight: 39, ArrowDown: 40 };
export const key = async (name) => {
  for (const type of ["keyDown", "keyUp"]) {
    await send("Input.dispatchKeyEvent", { type, key: name, code: name, windowsVirtualKeyCode: CODES[name], text: name === "Enter" && type === "keyDown" ? "\r" : undefined });
  }
};

/* Where an element is, scrolled into the middle: left, top, width, height. */
export const place = (selector) => run(`(() => { const e = document.querySelector(${JSON.stringify(selector)}); e.scrollIntoView({ block: "center" }); const r = e.getBoundingClientRect(); return [r.x, r.y, r.width, r.height]; })()`);

/* Runs `script`, and ends the browser and the program however it ends. */
export const tried = async (script) => {
  let failed = false;
  try { await script(); console.log("console:", said); } catch (error) {
    failed = true;
    console.log("FAILED", error.message, said);
    await shot("failed");
  }
  socket.close();
  chrome.kill();
  process.exit(failed ? 1 : 0);
};
