"""Worked examples of the MATH kind, of our own making.

For: few-shot prompts that show nothing of the benchmark, with answers of several kinds (fraction,
whole number, complex number, interval). Not for: choosing among them (fewshot.py).
"""

from iha_eval.reasoning.example import Example

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
