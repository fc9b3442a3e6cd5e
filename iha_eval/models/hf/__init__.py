"""`iha-hf`: answers by Transformers."""
