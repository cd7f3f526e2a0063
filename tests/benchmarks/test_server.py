"""The subject that speaks the queue API, beside a server that does as such servers do."""

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest
from PIL import Image

from benchmarks.subjects.server import Subject

CHECKPOINT = "folder/model.safetensors"


class Queue(BaseHTTPRequestHandler):
    """Takes a workflow, is done at the second question, has one picture; refuses a seed of 13, fails at 14."""

    posted: dict[str, Any]
    asked: list[str]

    def do_GET(self) -> None:
        url = urlparse(self.path)
        if url.path == "/object_info/CheckpointLoaderSimple":
            inputs = {"required": {"ckpt_name": [[CHECKPOINT, "other.ckpt"], {}]}}
            self._answer({"CheckpointLoaderSimple": {"input": inputs}})
        elif url.path.startswith("/history/"):
            self.asked.append(url.path)
            self._answer({} if len(self.asked) % 2 else {url.path.rpartition("/")[2]: self._done()})
        else:
            assert parse_qs(url.query)["filename"] == ["made_00001_.png"]
            picture = io.BytesIO()
            Image.new("RGB", (8, 8), "red").save(picture, "PNG")
            self._reply(200, picture.getvalue())

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/free":
            self.posted["freed"] = content
            self._reply(200, b"")
            return
        self.posted["workflow"] = content["prompt"]
        if content["prompt"]["sampler"]["inputs"]["seed"] == 13:
            self._reply(400, b'{"error": "an unlucky seed"}')
        else:
            self._answer({"prompt_id": "job-1"})

    def _done(self) -> dict[str, Any]:
        if self.posted["workflow"]["sampler"]["inputs"]["seed"] == 14:
            return {"status": {"status_str": "error", "messages": [["execution_error", "out of luck"]]}}
        image = {"filename": "made_00001_.png", "subfolder": "", "type": "output"}
        return {"status": {"status_str": "success"}, "outputs": {"save": {"images": [image]}}}

    def _answer(self, content: object) -> None:
        self._reply(200, json.dumps(content).encode())

    def _reply(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    handler = type("OneQueue", (Queue,), {"posted": {}, "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_a_picture_is_ordered_waited_for_and_fetched(url: str, tmp_path: Path) -> None:
    subject = Subject(url=url, checkpoint="model.safetensors", output=str(tmp_path))
    assert subject.checkpoint == CHECKPOINT
    (file,) = subject.picture(size=64, steps=1)["files"]
    with Image.open(file) as picture:
        assert picture.getpixel((0, 0)) == (255, 0, 0)
    assert subject.server_memory() == {}


def test_a_server_can_be_asked_to_forget(url: str, tmp_path: Path) -> None:
    assert Subject(url=url, checkpoint="model.safetensors", output=str(tmp_path)).forget() == {}


def test_a_server_without_the_checkpoint_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"no checkpoint 'mine.safetensors', only folder/model.safetensors, other.ckpt"
    ):
        Subject(url=url, checkpoint="mine.safetensors", output=str(tmp_path))


@pytest.mark.parametrize(("seed", "message"), [(13, "an unlucky seed"), (14, "out of luck")])
def test_what_the_server_says_of_a_failure_is_passed_on(
    url: str, tmp_path: Path, seed: int, message: str
) -> None:
    subject = Subject(url=url, checkpoint="model.safetensors", output=str(tmp_path))
    with pytest.raises(RuntimeError, match=message):
        subject.picture(size=64, steps=1, seed=seed)
