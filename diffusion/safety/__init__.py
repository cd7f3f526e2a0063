"""What may be done to pictures before others see them: a check of what they show, and a watermark that is not seen."""
