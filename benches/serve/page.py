"""The page in a real browser: opened, drawn with, cancelled, with the keyboard, and at a phone's width.

    pip install playwright     # drives a Chromium that is installed (Debian: apt-get install chromium)
    rectiflow serve runs/base --listen 127.0.0.1:7860
    python3 benches/serve/page.py http://127.0.0.1:7860/ docs/serve.png
"""

import re
import sys

from playwright.sync_api import expect, sync_playwright

address, picture = sys.argv[1:3]
narrow = picture.replace(".png", "-phone.png")

with sync_playwright() as play:
    browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
    page = browser.new_page(viewport={"width": 1180, "height": 640}, color_scheme="light")
    said = []
    page.on("console", lambda line: said.append(line.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    draw, pictures = page.get_by_role("button", name="Draw", exact=True), page.locator("figure img")
    status = page.get_by_role("status")
    expect(draw).to_be_enabled()

    # With the mouse: four of one class.
    page.locator("#class").select_option(index=1)
    page.get_by_label("Pictures").fill("4")
    page.get_by_label("another one each time").uncheck()
    page.get_by_label("Seed", exact=True).fill("11")
    draw.click()
    expect(status).to_have_text("4 drawn.", timeout=60_000)
    expect(pictures).to_have_count(4)
    widths = pictures.evaluate_all("all => Promise.all(all.map(one => one.decode().then(() => one.naturalWidth)))")
    assert all(width > 0 for width in widths), widths
    print("drawn by mouse:", widths, page.locator("figcaption").first.inner_text().replace("\n", " | "))

    # The same seed is the same picture; by keyboard alone, from the model's field to Enter.
    page.get_by_label("Pictures").fill("1")
    page.get_by_label("Model", exact=True).focus()
    for _ in range(3):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "steps", page.evaluate("document.activeElement.id")
    page.keyboard.press("Enter")
    expect(status).to_have_text("Drawn.", timeout=60_000)
    expect(pictures).to_have_count(5)
    bytes_of = "one => fetch(one.src).then(it => it.arrayBuffer()).then(it => Array.from(new Uint8Array(it)).join())"
    same = pictures.nth(0).evaluate(bytes_of) == pictures.nth(1).evaluate(bytes_of)
    assert same, "number 0 of seed 11, drawn alone and among four"
    print("drawn by keyboard, the same to the byte")

    # What is drawn too long can be cancelled, and what makes no sense is said.
    page.get_by_label("Steps").fill("1000")
    page.get_by_label("Pictures").fill("16")
    draw.click()
    expect(status).to_contain_text(re.compile("Step [1-9]"), timeout=60_000)
    during = page.get_by_role("progressbar", name="Progress").evaluate("bar => bar.value")
    page.get_by_role("button", name="Cancel").click()
    expect(status).to_have_text("Cancelled.", timeout=60_000)
    expect(pictures).to_have_count(5)
    print("cancelled at", round(during, 3))
    page.get_by_label("Steps").evaluate("field => { field.removeAttribute('max'); field.value = 1000001; }")
    draw.click()
    expect(page.get_by_role("alert")).to_contain_text("steps: it must be a whole number")
    print("refused:", page.get_by_role("alert").inner_text())

    # Back to a picture's own settings, then other classes for the picture of the page.
    page.get_by_role("button", name="Use the settings").first.click()
    assert page.get_by_label("Steps").input_value() != "1000001" and page.get_by_label("Seed", exact=True).input_value() == "11"
    page.locator("#class").select_option(index=0)
    page.get_by_label("Pictures").fill("10")
    draw.click()
    expect(status).to_have_text("10 drawn.", timeout=60_000)
    page.screenshot(path=picture)

    page.set_viewport_size({"width": 390, "height": 844})
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390, f"a phone would have to scroll sideways: {wide}"
    page.screenshot(path=narrow)
    # The refused request is the one line that a console may have.
    assert all("400" in line for line in said), said
    browser.close()
print("the page works:", picture, narrow)
