"""Measurements of Denizen beside what people use today, on the machine at hand: `make bench` runs them all."""
