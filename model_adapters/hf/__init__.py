"""The IHA model in Transformers."""
