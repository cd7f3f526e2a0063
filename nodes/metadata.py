"""What a saved file says about how it was made."""

import json

from graph import Context


def workflow_metadata(ctx: Context) -> dict[str, str]:
    """The running workflow as text by key: `prompt` (what runs), and whatever the sender wants kept beside it."""
    kept = {name: json.dumps(value) for name, value in ctx.extra.items()}
    return {"prompt": json.dumps(ctx.workflow), **kept} if ctx.workflow else kept
