"""From noise to a latent: schedules, denoisers, guidance, samplers."""
