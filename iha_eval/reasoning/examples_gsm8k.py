"""Worked examples of the GSM8K kind, of our own making.

For: few-shot prompts that show nothing of the benchmark. Not for: choosing among them (fewshot.py).
"""

from iha_eval.reasoning.example import Example

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
