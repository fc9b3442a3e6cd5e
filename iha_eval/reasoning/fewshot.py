"""Which worked examples the prompts of a task hold: the same ones for every question.

For: a prefix that all prompts of a task share, and a record of what it was.
Not for: how examples are laid out (prompts.py). Nothing here reads a test set.
"""

import hashlib
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iha_eval.data import GSM8K_TRAIN, load_rows
from iha_eval.errors import UserError

OWN, TRAIN = "own", "train"
SOURCES = (OWN, TRAIN)

# GSM8K's calculator annotations, as in 48/2 = <<48/2=24>>24.
_ANNOTATION = re.compile(r"<<[^<>]*>>")


@dataclass(frozen=True)
class Example:
    """A problem with its solution.

    Attributes:
        problem: What is asked.
        steps: The solution up to its last sentence, which states the answer.
        answer: What the last sentence states.
    """

    problem: str
    steps: str
    answer: str

    @property
    def solution(self) -> str:
        r"""The steps and the last sentence, `The answer is \boxed{...}.`."""
        return f"{self.steps}\nThe answer is \\boxed{{{self.answer}}}."

    @property
    def document(self) -> dict[str, str]:
        """As lm-eval's templates take it."""
        return {"problem": self.problem, "solution": self.solution, "answer": self.answer}


def train_examples(folder: Path | None, seed: int) -> list[Example]:
    """All of GSM8K's training rows as examples, in an order drawn by seed.

    The first five of eight are thus what five alone would be.

    Args:
        folder: The data folder; None for the hub.
        seed: Of the order.

    Raises:
        UserError: The training set is missing or broken.
    """
    rows = load_rows(GSM8K_TRAIN, folder).rows
    random.Random(seed).shuffle(rows)
    return [from_gsm8k(row["question"], row["answer"]) for row in rows]


def from_gsm8k(question: str, answer: str) -> Example:
    """A row of GSM8K as an example: without annotations, its `#### n` rewritten."""
    steps, _, final = answer.rpartition("####")
    return Example(question.strip(), _ANNOTATION.sub("", steps).strip(), final.strip())


def first(examples: Sequence[Example], count: int, task: str) -> list[Example]:
    """The examples of a prompt.

    Args:
        examples: All there are.
        count: How many are asked for.
        task: Whose they are, for the message.

    Raises:
        UserError: There are fewer, or the number is negative.
    """
    if not 0 <= count <= len(examples):
        raise UserError(
            f"num_fewshot={count} is not possible for {task}, which has {len(examples)} worked "
            f"examples: use --num_fewshot 0 to {len(examples)}."
        )
    return list(examples[:count])


def examples_record(examples: Sequence[Example], source: str, seed: int) -> dict[str, Any]:
    """Provenance of the examples in a prompt, for the results file."""
    if not examples:
        return {"source": "none", "count": 0}
    text = json.dumps([[example.problem, example.solution] for example in examples])
    record: dict[str, Any] = {
        "source": source,
        "count": len(examples),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    return {**record, "seed": seed} if source == TRAIN else record


#: Of the GSM8K kind, of our own making: they show nothing of the benchmark.
GSM8K_EXAMPLES = (
    Example(
        "A bakery packs rolls into bags of 6. On Monday it bakes 150 rolls and keeps 12 of them "
        "for its staff. How many bags does it fill with the rest?",
        "The bakery packs 150 - 12 = 138 rolls.\nThat fills 138 / 6 = 23 bags.",
        "23",
    ),
    Example(
        "Priya reads 18 pages on every weekday and 35 pages on each day of the weekend. How many "
        "pages does she read in three weeks?",
        "On weekdays she reads 5 * 18 = 90 pages a week.\nOn weekends she reads 2 * 35 = 70 pages."
        "\nA week makes 90 + 70 = 160 pages, so three weeks make 3 * 160 = 480 pages.",
        "480",
    ),
    Example(
        "A ferry takes 24 cars on each crossing and makes 7 crossings a day. Every car pays $15, "
        "and running the ferry costs $1,340 a day. What profit in dollars does it make a day?",
        "The ferry takes 24 * 7 = 168 cars a day.\nThey pay 168 * 15 = 2520 dollars.\n"
        "After costs, 2520 - 1340 = 1180 dollars are left.",
        "1180",
    ),
    Example(
        "Tomas fills a tank of 880 liters with two hoses. One gives 12 liters a minute, the other "
        "8. After both have run for 20 minutes he closes the first. For how many more minutes must "
        "the second run?",
        "Together the hoses give 12 + 8 = 20 liters a minute, which is 20 * 20 = 400 liters in 20 "
        "minutes.\nThere are 880 - 400 = 480 liters to go.\n"
        "The second hose needs 480 / 8 = 60 minutes for them.",
        "60",
    ),
    Example(
        "A coat costs $120. A sale takes 25% off its price, and a voucher another $8. Lena pays "
        "with two $50 notes. How many dollars does she get back?",
        "The sale takes off 120 * 25 / 100 = 30 dollars, so the coat costs 120 - 30 = 90 dollars.\n"
        "With the voucher it costs 90 - 8 = 82 dollars.\n"
        "Lena gives 2 * 50 = 100 dollars and gets back 100 - 82 = 18 dollars.",
        "18",
    ),
    Example(
        "Omar is four years older than twice his sister's age. Their ages add up to 40. How old is "
        "Omar?",
        "Let s be the sister's age. Then Omar is 2s + 4.\nTogether s + 2s + 4 = 40, so 3s = 36 and "
        "s = 12.\nOmar is 2 * 12 + 4 = 28 years old.",
        "28",
    ),
    Example(
        "A class of 32 pupils plants a garden. Three eighths of them dig, and each of the others "
        "sows 9 seeds. A quarter of the seeds does not come up. How many plants grow?",
        "32 * 3 / 8 = 12 pupils dig, so 32 - 12 = 20 pupils sow.\nThey sow 20 * 9 = 180 seeds.\n"
        "180 / 4 = 45 of them do not come up, so 180 - 45 = 135 plants grow.",
        "135",
    ),
    Example(
        "A cyclist rides 14 km in the first hour, and in each later hour 3 km more than in the one "
        "before. How many meters has she ridden after 4 hours?",
        "In the four hours she rides 14, 17, 20 and 23 km.\nThat is 14 + 17 + 20 + 23 = 74 km, or "
        "74 * 1000 = 74000 meters.",
        "74000",
    ),
)

#: Of the MATH kind, with answers of several kinds (fraction, whole number, complex number,
#: interval).
MATH_EXAMPLES = (
    Example(
        r"What is the sum of all real numbers $x$ for which $|3x - 4| = 11$?",
        r"Either $3x - 4 = 11$, so $x = 5$, or $3x - 4 = -11$, so $x = -\frac{7}{3}$. "
        r"Their sum is $5 - \frac{7}{3} = \frac{8}{3}$.",
        r"\frac{8}{3}",
    ),
    Example(
        r"Which remainder does $7^{50}$ leave on division by $20$?",
        r"Modulo $20$ we have $7^2 = 49 \equiv 9$ and $7^4 \equiv 9^2 = 81 \equiv 1$. "
        r"Since $50 = 4 \cdot 12 + 2$, it follows that $7^{50} \equiv 7^2 \equiv 9$.",
        r"9",
    ),
    Example(
        r"Six different books stand on a shelf. In how many orders can they stand if two certain "
        r"books must not be neighbors?",
        r"Without the condition there are $6! = 720$ orders. If the two books are neighbors, they "
        r"act as one book that can be put in $2$ ways, which makes $2 \cdot 5! = 240$ orders. "
        r"So $720 - 240 = 480$ orders are left.",
        r"480",
    ),
    Example(
        r"The legs of a right triangle have lengths $9$ and $12$. How long is the altitude to its "
        r"hypotenuse?",
        r"The hypotenuse has length $\sqrt{9^2 + 12^2} = \sqrt{225} = 15$. The area is "
        r"$\frac{1}{2} \cdot 9 \cdot 12 = 54$, and it is also $\frac{1}{2} \cdot 15 \cdot h$ for "
        r"the altitude $h$. Hence $h = \frac{108}{15} = \frac{36}{5}$.",
        r"\frac{36}{5}",
    ),
    Example(
        r"Write $(1 + i \sqrt{3})^4$ as $a + bi$ with real numbers $a$ and $b$.",
        r"We square twice. First, $(1 + i \sqrt{3})^2 = 1 + 2i \sqrt{3} - 3 = -2 + 2i \sqrt{3}$. "
        r"Then $(-2 + 2i \sqrt{3})^2 = 4 - 8i \sqrt{3} - 12 = -8 - 8i \sqrt{3}$.",
        r"-8 - 8i \sqrt{3}",
    ),
    Example(
        r"Dividing $x^3 + ax^2 + 5x - 6$ by $x - 2$ leaves the remainder $20$. What is $a$?",
        r"The remainder is the value at $x = 2$, which is $8 + 4a + 10 - 6 = 12 + 4a$. "
        r"From $12 + 4a = 20$ we get $a = 2$.",
        r"2",
    ),
    Example(
        r"Two fair dice are thrown, and what they show is multiplied. How likely is a result that "
        r"$10$ divides?",
        r"The product needs the factor $5$, so one die shows $5$, and the factor $2$, so the other "
        r"shows $2$, $4$ or $6$. With two ways to say which die shows $5$, that is "
        r"$2 \cdot 3 = 6$ of the $36$ outcomes, and $\frac{6}{36} = \frac{1}{6}$.",
        r"\frac{1}{6}",
    ),
    Example(
        r"For which real numbers $x$ is $x^2 - 2x \le 15$? Give the answer as an interval.",
        r"The condition is $(x - 5)(x + 3) \le 0$. The product is not positive exactly where $x$ "
        r"lies between the zeros $-3$ and $5$, which belong to the solutions.",
        r"[-3, 5]",
    ),
)
