"""Any server that speaks the queue API: a workflow is posted, its history asked for, its pictures fetched."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.memory import read_status
from benchmarks.tasks import Picture
from benchmarks.workflows import Drawn, text_to_image

INTERVAL = 0.02
"""Seconds between two questions whether the picture is there."""
PATIENCE = 3600
"""Seconds after which a picture is given up."""


class Subject:
    """A running server. checkpoint: the name that it knows the file by; pid: its process, to read its memory."""

    def __init__(self, *, url: str, checkpoint: str, output: str, pid: int | None = None) -> None:
        self.url, self.output, self.pid = url.rstrip("/"), Path(output), pid
        self.checkpoint = self._known(checkpoint)

    def _known(self, checkpoint: str) -> str:
        """The server's own name of the file. Raises ValueError when it does not have it."""
        loader = self._get("/object_info/CheckpointLoaderSimple")["CheckpointLoaderSimple"]
        names: list[str] = loader["input"]["required"]["ckpt_name"][0]
        for name in names:
            if Path(name).name == checkpoint:
                return name
        raise ValueError(
            f"the server at {self.url} has no checkpoint {checkpoint!r}, only {', '.join(names) or 'none'}: "
            "put a link to the file into its folder of checkpoints"
        )

    def picture(self, **task: Any) -> Mapping[str, Any]:
        """Make one picture from text; where it was saved here."""
        return self.run(text_to_image(Picture(**task), self.checkpoint))

    def run(self, workflow: Drawn) -> Mapping[str, Any]:
        """Run any workflow that saves pictures. Raises RuntimeError when it fails."""
        identity = self._post("/prompt", {"prompt": workflow})["prompt_id"]
        end = time.monotonic() + PATIENCE
        while not (history := self._get(f"/history/{identity}")):
            if time.monotonic() > end:
                raise RuntimeError(f"the server took more than {PATIENCE} s")
            time.sleep(INTERVAL)
        done = history[identity]
        if done.get("status", {}).get("status_str", "success") != "success":
            raise RuntimeError(f"the server failed: {done['status'].get('messages', [])[-1:]}")
        shown = [image for ui in done["outputs"].values() for image in ui.get("images", ())]
        return {"files": [self._fetch(image) for image in shown]}

    def server_memory(self) -> Mapping[str, int]:
        """Bytes of the server's own process: its peak resident so far, and what is private now."""
        return read_status(self.pid) if self.pid else {}

    def forget(self) -> Mapping[str, Any]:
        """Have the server let go of its models."""
        self._post("/free", {"unload_models": True, "free_memory": True})
        return {}

    def _fetch(self, image: Mapping[str, str]) -> str:
        with urllib.request.urlopen(f"{self.url}/view?{urllib.parse.urlencode(image)}") as reply:
            path = self.output / f"server-{Path(image['filename']).name}"
            path.write_bytes(reply.read())
        return str(path)

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path) as reply:
            return json.load(reply)

    def _post(self, path: str, content: object) -> Any:
        request = urllib.request.Request(
            self.url + path, json.dumps(content).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request) as reply:
                answer = reply.read()
            return json.loads(answer) if answer else None
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"the server refused the workflow: {error.read().decode()[:500]}") from error
