"""Plain shapes in plain colours: what the tiny checkpoint draws, and how a program reads them in pictures."""
