"""Question sets in the form of SQuAD 2.0 and HotpotQA, made up, for tests and benchmarks.

Paragraphs are as long as those of the published sets: SQuAD's have 125 words on average and rarely
fewer than 60 or more than 250, HotpotQA's have 100.
"""

import json
import math
import random
import string
from pathlib import Path
from typing import Any

WORDS = (
    *("the", "river", "town", "of", "was", "founded", "by", "monks", "in", "market", "hall"),
    *("stands", "near", "old", "bridge", "where", "traders", "from", "north", "met", "every"),
    *("spring", "to", "sell", "wool", "salt", "glass", "copper", "timber", "wine", "paper"),
)


#: Of so many words one is made up, as names and rare words are in real text.
RARE = 16


def _word(rng: random.Random) -> str:
    if rng.randrange(RARE):
        return rng.choice(WORDS)
    return "".join(rng.choices(string.ascii_lowercase, k=rng.randint(4, 9)))


def _prose(rng: random.Random, words: int) -> str:
    text = " ".join(_word(rng) for _ in range(words))
    return f"{text[0].upper()}{text[1:]}."


def _length(rng: random.Random, median: int, least: int) -> int:
    """Words of a paragraph: the logarithm is normally distributed."""
    return max(round(rng.lognormvariate(math.log(median), 0.4)), least)


def squad(articles: int, paragraphs: int, seed: int = 0) -> dict[str, Any]:
    """A document like dev-v2.0.json; each paragraph has a question with and one without answer."""
    rng = random.Random(seed)
    data = []
    for a in range(articles):
        made = []
        for p in range(paragraphs):
            name = f"Keeper{a}x{p}"
            words = _length(rng, 115, 60) - 24
            context = f"{_prose(rng, words)} {name} kept the gate. {_prose(rng, 20)}"
            asked = {"question": f"Who kept gate {a} {p}?", "is_impossible": False}
            answers = [{"text": name, "answer_start": 0}, {"text": f"{name} kept"}]
            never = {"question": f"Who sold {a} {p}?", "is_impossible": True, "answers": []}
            made.append({"context": context, "qas": [{**asked, "answers": answers}, never]})
        data.append({"title": f"Town_{a}", "paragraphs": made})
    return {"version": "v2.0", "data": data}


def hotpotqa(questions: int, seed: int = 0) -> list[dict[str, Any]]:
    """A document like hotpot_dev_distractor_v1.json: ten paragraphs a question, some shared."""
    rng = random.Random(seed)
    pool = []
    for n in range(max(questions * 9, 10)):
        words = _length(rng, 90, 12)
        lines = [_prose(rng, words // 3), *[f" {_prose(rng, words // 3)}" for _ in range(2)]]
        pool.append([f"{_word(rng).title()} {n}", lines])
    return [
        {
            "_id": str(n),
            "question": f"Is town {n} older than its bridge?",
            "answer": rng.choice(["yes", "no", f"Abbot {n}"]),
            "type": "comparison",
            "level": "hard",
            "supporting_facts": [],
            "context": rng.sample(pool, 10),
        }
        for n in range(questions)
    ]


def write(folder: Path, articles: int = 8, paragraphs: int = 20, questions: int = 60) -> Path:
    """Put both where the tasks look for them below `folder`."""
    files = {
        "squad/dev-v2.0.json": squad(articles, paragraphs),
        "hotpotqa/hotpot_dev_distractor_v1.json": hotpotqa(questions),
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return folder
