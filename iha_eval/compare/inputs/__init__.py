"""What lm-eval wrote, read: results, samples, settings, and the pairs of two runs."""
