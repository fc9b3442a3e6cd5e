"""From paired samples to rows: differences, headlines, checks of the scores, provenance."""
