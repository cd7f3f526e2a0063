"""An estimate of what a run takes: its time, by a power that the person states, by the carbon of their electricity."""

from __future__ import annotations

from dataclasses import dataclass

WORLD_CARBON = 445.0
"""Grams of CO2 for a kilowatt-hour of the world's electricity: International Energy Agency, "Electricity
2025", the average of 2024."""
_JOULES_IN_WH = 3600.0


@dataclass(frozen=True)
class Power:
    """watts: of the whole machine while it computes. carbon: grams of CO2 for a kilowatt-hour."""

    watts: float
    carbon: float = WORLD_CARBON

    def energy(self, seconds: float) -> float:
        """Watt-hours."""
        return self.watts * seconds / _JOULES_IN_WH

    def emitted(self, seconds: float) -> float:
        """Grams of CO2."""
        return self.energy(seconds) / 1000 * self.carbon

    def summary(self, seconds: float) -> str:
        """Both in words."""
        return (
            f"about {self.energy(seconds):.3g} Wh ({self.watts:g} W), {self.emitted(seconds):.3g} g CO2 "
            f"({self.carbon:g} g/kWh)"
        )
