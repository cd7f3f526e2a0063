"""From the layouts of checkpoints to Model, Clip and Vae."""
