"""Content keys: what a node's result depends on, as a hash. Equal keys mean equal results."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

from graph.binding import Bound
from graph.context import Context
from graph.spec import NodeSpec

_DIGEST_BYTES = 16
_PLAIN = (int, float, str, bool, type(None))


class Keys:
    """The keys of a run's nodes, made in topological order: a link counts as its source's key. by_id: those made."""

    def __init__(self, context: Callable[[], Context]) -> None:
        self._context = context
        self.by_id: dict[str, bytes] = {}
        self._headers: dict[str, str] = {}

    def add(self, node: Bound, tokens: Mapping[str, bytes] | None = None) -> None:
        """Make the key of `node`, whose sources have theirs.

        tokens: for constants that JSON cannot hold, by input name, what stands for them in the key.
        """
        spec, constants, links, keys = node.spec, node.constants, node.links, self.by_id
        header = self._headers.get(spec.name)
        if header is None:
            names = [port.name for port in spec.inputs]
            header = self._headers[spec.name] = repr((spec.name, spec.version, names))
        parts: list[Any] = [header]
        for port in spec.inputs:
            link = links.get(port.name)
            if link is not None:
                parts.append((keys[link.node], link.output))
            elif tokens and port.name in tokens:
                parts.append((tokens[port.name],))
            else:
                value = constants.get(port.name)
                parts.append(value if type(value) in _PLAIN else _canonical(value))
        if spec.fingerprint is not None:
            parts.append(self._fingerprint(spec, node))
        # The repr of texts, numbers and bytes is never the same for two different ones, and quick to make.
        keys[node.id] = blake2b(repr(parts).encode(), digest_size=_DIGEST_BYTES).digest()

    def _fingerprint(self, spec: NodeSpec, node: Bound) -> str | bytes:
        """What the node's fingerprint says, as text; something never seen before when it cannot say.

        It cannot when it insists on an input that comes over a link, whose value is not known before the run.
        """
        assert spec.fingerprint is not None
        linked = spec.fingerprint_takes.intersection(node.links)
        if linked.difference(getattr(spec.fingerprint, "__kwdefaults__", None) or ()):
            return unique()
        context = self._context()
        known = {**node.constants, "folders": context.folders, "ctx": context}
        try:
            said = spec.fingerprint(**{name: known[name] for name in spec.fingerprint_takes - linked})
            return json.dumps(said, sort_keys=True, allow_nan=False)
        except Exception:
            # The node itself will say what is wrong, in its own words, when it runs.
            return unique()


def token(*parts: object) -> bytes:
    """A key for what these parts, plain values all, determine."""
    return blake2b(repr(parts).encode(), digest_size=_DIGEST_BYTES).digest()


def unique() -> bytes:
    """A key like no other: what has it is never found in the cache."""
    return secrets.token_bytes(_DIGEST_BYTES)


def _canonical(value: Any) -> tuple[str, str]:
    return "json", json.dumps(value, sort_keys=True)
