"""OpenAI's own Python client against a running server.

    pip install openai
    rectiflow serve runs/base --listen 127.0.0.1:7860 --api-key secret
    python3 benches/serve/openai_client.py http://127.0.0.1:7860/v1 secret
"""

import base64
import sys
import urllib.request

import openai

base_url, key = sys.argv[1:3]
client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0)

models = client.models.list().data
model = models[0].id
assert client.models.retrieve(model).id == model
classes = models[0].classes
print("models:", [one.id for one in models], "classes:", classes[:3], "...")

ask = dict(model=model, prompt=classes[0], n=2)
inside = client.images.generate(**ask, response_format="b64_json", extra_body={"seed": 7, "steps": 4})
pictures = [base64.b64decode(one.b64_json) for one in inside.data]
assert all(picture.startswith(b"\x89PNG\r\n\x1a\n") for picture in pictures) and pictures[0] != pictures[1]

linked = client.images.generate(**ask, extra_body={"seed": 7, "steps": 4})
fetched = [urllib.request.urlopen(one.url).read() for one in linked.data]
assert fetched == pictures, "the same seed gives the same pictures, inside the answer or behind its addresses"
print("drawn:", inside.created, inside.size, [len(picture) for picture in pictures], "bytes, and the same by address")

if "restore" in models[0].does:
    # Transparent in the middle: drawn anew there, and as a whole without.
    size = dict(model=model, prompt=classes[0], response_format="b64_json", extra_body={"seed": 7, "steps": 4})
    box = client.images.edit(image=("bag.png", pictures[0]), **{**size, "extra_body": {"seed": 7, "steps": 4, "box": "8,8,12,12"}})
    whole = client.images.edit(image=("bag.png", pictures[0]), **{**size, "prompt": classes[1]})
    print("edited:", [(one.do, len(one.data[0].b64_json)) for one in (box, whole)])


def refused(kind, **changes):
    try:
        client.images.generate(**{**ask, **changes})
    except kind as error:
        print(f"{kind.__name__}: {error.status_code} {error.code} {error.param}: {error.body['message']}")
        return
    sys.exit(f"{changes} was not refused")


refused(openai.BadRequestError, n=10**9)
refused(openai.BadRequestError, size="1024x1024")
refused(openai.BadRequestError, prompt="a cat in a hat")
refused(openai.NotFoundError, model="dall-e-3")
client = openai.OpenAI(base_url=base_url, api_key="wrong", max_retries=0)
refused(openai.AuthenticationError)
print("openai", openai.__version__, "is answered")
