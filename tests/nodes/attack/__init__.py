"""An attack on every node: hostile values of the right type at each socket and widget, and what may come of them."""
