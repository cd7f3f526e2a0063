"""LoRA: small files that change a model, as patches upon its weights."""
