"""`iha-eval cache`: where the cache is and what it takes; `iha-eval cache clear` empties it.

For: the sizes of RULER's documents and its essays. Not for: caches of the hub, of pip or of vLLM.
"""

import argparse
from collections.abc import Sequence

SUMMARY = "cache [clear]: say where the cache is and how large, or empty it"


def main(arguments: Sequence[str]) -> int:
    """Show it, or empty it.

    Returns:
        0.

    Raises:
        UserError: A file cannot be removed.
    """
    parser = argparse.ArgumentParser(prog="iha-eval cache", description=SUMMARY)
    parser.add_argument(
        "action", nargs="?", choices=["clear"], help="remove all files; it costs time, no results"
    )
    action = parser.parse_args(arguments).action
    from iha_eval.errors import UserError
    from iha_eval.ruler.cache import MOST_BYTES, cache_folder, cache_size, clear_cache

    folder = cache_folder()
    files, size = cache_size()
    if action is None:
        print(
            f"{folder} (IHA_EVAL_CACHE names another): {files} files, {size / 2**20:.1f} MiB; "
            f"sizes of documents take up to {MOST_BYTES // 2**20} MiB, then those that were not "
            "used for the longest time are removed."
        )
        return 0
    try:
        print(f"{clear_cache()} files, {size / 2**20:.1f} MiB, removed from {folder}.")
    except OSError as error:
        raise UserError(
            f"{error.filename} cannot be removed ({error.strerror}): remove it by hand, or name "
            "another folder with IHA_EVAL_CACHE."
        ) from error
    return 0
