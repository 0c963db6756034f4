/* The page in a real browser: drawn with by mouse and keyboard, cancelled, refused, painted on, edited, read back, at a phone's width
 * (browser.mjs). Shapes and clips are in turn.mjs.
 *
 *     rectiflow serve runs/base runs/tones --runs runs --listen 127.0.0.1:7860
 *     node --experimental-websocket benches/serve/page.mjs http://127.0.0.1:7860/ pictures/
 *
 * `runs/base` draws by class at 28x28; a separator called `tones` and `pictures/mixed.wav` are used where they are there. Node 22 and newer
 * need no option. */
import { existsSync, writeFileSync } from "node:fs";
import { choose, click, file, key, place, run, send, shot, sleep, tried, until } from "./browser.mjs";
const [address, out] = process.argv.slice(2);

tried(async () => {
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
  const box = await place("#canvas");
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
});
