"""What `iha-eval inspect` says of a checkpoint: gathered, as a table, as a page."""
