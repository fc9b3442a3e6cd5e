"""The content of report.json, part by part, as types.

For: `build_report`, which makes it; page, figures, Markdown and tables, which read it; and programs
of others, for which docs/report.schema.json says the same (`python -m tools.report_schema`).
Not for: computing anything. Scores are from 0 to 1, differences in points (hundredths), times in
ISO 8601. None stands for a number or a fact that does not exist.
"""

from typing import Any, Literal, NotRequired

# That of `typing` has no docstrings that pydantic can read before Python 3.12.
from typing_extensions import TypedDict

SCHEMA = 1
"""Raise it with any change that a reader of report.json has to know of; a new part is none."""

SideName = Literal["iha", "baseline"]


class PaperNumbers(TypedDict):
    """What the paper reports for a row of a table."""

    iha: float | None
    """Its score of IHA; None where only a ratio is reported."""
    baseline: float | None
    """Its score of full attention; None where only a ratio is reported."""
    relative: float
    """The difference as a share of the baseline's score."""
    note: str
    """Source, and of which models and how many answers the numbers are."""
    models: NotRequired[dict[str, float | None]]
    """Scores of all models that the paper compares; empty where only a ratio is reported."""
    caveat: NotRequired[str | None]
    """What in the paper's numbers does not fit."""


class ReportRow(TypedDict):
    """One line of a table: both scores, their difference, its test and its verdict."""

    task: str
    """lm-eval's name of the task, or what stands for several."""
    label: str
    variant: str | None
    """Variant of a RULER task; None for all variants, and for other tasks."""
    length: int | None
    """Tokens of a RULER document."""
    k: int | None
    """Answers that vote, of metrics that count votes."""
    metric: str
    n: int
    """Questions; of unpaired rows, those of the first run."""
    n_baseline: int
    left_out: int
    """Questions that have no score on one side."""
    iha: float | None
    baseline: float | None
    iha_low: float | None
    """95% interval of the model's own score."""
    iha_high: float | None
    baseline_low: float | None
    baseline_high: float | None
    points: float | None
    """IHA less baseline."""
    relative: float | None
    """The difference as a share of the baseline's score."""
    relative_low: NotRequired[float | None]
    relative_high: NotRequired[float | None]
    low: float | None
    """95% interval of `points`."""
    high: float | None
    method: str | None
    """How the interval was made."""
    p: float | None
    p_method: str
    p_corrected: float | None
    correction: str
    """How p was corrected, and over which family."""
    higher: int | None
    """Questions on which IHA scores higher; None if unpaired."""
    lower: int | None
    status: str
    """`ok`, or why there is no interval or test."""
    smallest: float | None
    """Smallest difference in points that so many questions show in 80% of runs."""
    word: str
    """The verdict: `better`, `worse`, `no significant difference` or `not enough data`."""
    clear_alone: NotRequired[bool]
    """Whether the row is significant before the correction and not after it."""
    enough: NotRequired[int | None]
    """Questions that would do, where there are not enough."""
    sentence: str
    decides: bool
    """Whether the benchmark's headline is made of this row."""
    paired: bool
    paper: PaperNumbers | None


class ReportTable(TypedDict):
    """All rows of one benchmark under one metric, or of one group under several."""

    benchmark: str
    label: str
    metric: str | None
    """None where each row has one of its own."""
    metric_label: str | None
    rows: list[ReportRow]


class Headline(TypedDict):
    """One sentence for a benchmark."""

    benchmark: str
    label: str
    metric: str | None
    """None where the benchmark was not compared."""
    decided_by: str | None
    """The row that decides, in words."""
    word: str
    """The verdict, or `not compared`."""
    sentence: str


class RulerAverage(TypedDict):
    """RULER's tasks averaged over the lengths."""

    weights: Literal["equal", "increasing", "decreasing"]
    """Of the lengths, short to long."""
    iha: float
    baseline: float
    points: float
    low: float
    """95% interval of `points`, from those of the cells (MOVER)."""
    high: float


class EffectiveLengths(TypedDict):
    """The longest length with a mean at the threshold or above; None if no length has one."""

    iha: int | None
    baseline: int | None


class RulerSummary(TypedDict):
    """RULER's own summary of its tasks, in its own score."""

    metric: str
    tasks: list[str]
    """Those that every length has."""
    of: int
    """Number of tasks that RULER has."""
    lengths: list[int]
    iha: list[float]
    """Plain mean of the tasks at each length."""
    baseline: list[float]
    averages: list[RulerAverage]
    effective: EffectiveLengths | None
    """None, like the threshold, unless all tasks are there."""
    threshold: float | None
    threshold_source: str | None
    paper: PaperNumbers | None
    """None unless all tasks are there, at 4k, 8k and 16k."""


class VoteCurve(TypedDict):
    """Scores of both models against the number of answers."""

    task: str
    label: str
    metric: Literal["maj", "pass"]
    k: list[int]
    iha: list[float | None]
    iha_low: list[float | None]
    iha_high: list[float | None]
    baseline: list[float | None]
    baseline_low: list[float | None]
    baseline_high: list[float | None]


class DepthMap(TypedDict):
    """RULER's scores by depth of the needle (rows) and length of the document (columns)."""

    metric: str
    lengths: list[int]
    depths: list[float]
    """Middle of each bin, in percent from the start of the document."""
    n: list[list[int]]
    """Documents in each cell."""
    iha: list[list[float | None]]
    baseline: list[list[float | None]]


class ReportQuestion(TypedDict):
    """One question with what was asked and what both models wrote, cut to a size for a page."""

    task: str
    doc_id: int
    direction: Literal["iha", "baseline", "neither"]
    """Which model scores higher; `neither` where both are wrong."""
    metric: str
    gold: str
    prompt: str
    iha_output: str
    baseline_output: str
    iha_score: float
    baseline_score: float


class ReportQuestions(TypedDict):
    """Some questions, and how many there are in all."""

    total: int
    shown: int
    rows: list[ReportQuestion]


class TrendNight(TypedDict):
    """One night of a series."""

    date: str
    mean: float | None
    """None if the run failed."""
    se: float | None
    """Standard error of the mean."""
    fingerprint: str | None
    commit: str | None
    failed: bool
    step: NotRequired[int]
    """Training step, where the points are steps and no nights."""


class TrendStep(TypedDict):
    """A change of level between two nights."""

    night: int
    """Index of the first night of the new level."""
    previous: int
    before: float
    after: float
    p: float


class TrendSeries(TypedDict):
    """One metric of one task and model over the nights."""

    label: str
    metric: str
    nights: list[TrendNight]
    steps: list[TrendStep]
    first_bad: int | None
    """Index of the first night of the last fall, if the level has not risen again."""
    task: NotRequired[str]
    model: NotRequired[str]
    """`iha` or `baseline`."""


class DifferenceNight(TypedDict):
    """The paired difference of one night."""

    date: str
    points: float
    """IHA less baseline."""
    low: float
    """95% interval, of the mean of the questions' differences."""
    high: float
    n: int
    """Questions that both models have a score for."""
    step: NotRequired[int]
    """Training step, where the points are steps and no nights."""
    looks_low: NotRequired[float]
    """Interval of `points` that allows for looking at every step."""
    looks_high: NotRequired[float]
    confidence: NotRequired[float]
    """Level of that interval."""


class TrendDifference(TypedDict):
    """The paired difference of both models in one metric of one task over the nights."""

    task: str
    metric: str
    nights: list[DifferenceNight]
    """Nights on which both models answered the same questions; oldest first."""


class LayerMaps(TypedDict):
    """Magnitudes of one layer's mixing weights and collapse, as matrices."""

    layer: int
    kind: str
    alpha_q: list[list[float]]
    """[source head, destination head], root mean square over pseudo-heads."""
    alpha_k: list[list[float]]
    alpha_v: list[list[float]]
    collapse: list[list[float]]
    """[head, source head and pseudo-head]."""


class AlphaMaps(TypedDict):
    """The matrices of the IHA checkpoint."""

    layers: list[LayerMaps]


class ReportModel(TypedDict):
    """What a run says of its model."""

    name: str
    path: str | None
    fingerprint: str | None
    """SHA-256 of weights and configuration."""
    is_iha: bool | None
    model_sha: str | None
    """Commit on the hub."""
    num_parameters: int | None
    model_class: str | None
    dtype: str | None
    device: str | None
    date: str | None
    command: list[str]
    versions: dict[str, str | None]
    engine_args: dict[str, Any]
    model_args: dict[str, Any]
    kv_tokens: float | None
    """Tokens that the engine's KV cache holds."""
    kv_bytes: float | None
    kv_bytes_per_token: float | None
    prefill_tokens_per_second: float | None
    generation_tokens_per_second: float | None
    documents_per_minute: float | None
    seconds: float | None
    documents: int | None
    cut: float | None
    """Share of answers that the limit of tokens cut."""
    unparseable: float | None
    """Share of answers from which no answer could be read."""
    notes: list[str]


class Models(TypedDict):
    """Both models."""

    iha: ReportModel
    baseline: ReportModel


class DataSource(TypedDict):
    """Where the documents of a task come from."""

    task: str
    source: Any
    sha256: Any
    note: str | None


class PairingFacts(TypedDict):
    """How the documents were paired."""

    tasks: int
    documents: int
    hashes: str
    unpaired_tasks: list[str]
    tasks_not_compared: list[str]


class StatisticsFacts(TypedDict):
    """By which statistics the numbers were made."""

    intervals: list[str]
    tests: list[str]
    levels: str
    correction: str
    families: str
    alpha: float
    confidence: float
    power: float
    margin_points: float
    seed: int


class CompareFacts(TypedDict):
    """What asked for the report."""

    command: list[str]
    options: dict[str, Any]


class Provenance(TypedDict):
    """Data, pairing and statistics."""

    commit: str | None
    compare: CompareFacts
    datasets: list[DataSource]
    pairing: PairingFacts
    statistics: StatisticsFacts


class NightCheck(TypedDict):
    """One comparison of tonight's runs that a rule made."""

    model: NotRequired[str]
    """Its name in the configuration; `iha` if it is not said."""
    rule: str
    task: str
    metric: str
    against: str
    """Id of the night, or `baseline`."""
    points: float
    """Tonight less the other; below 0 is worse."""
    pairs: int
    """Questions that it rests on."""
    worse: bool
    """Whether a drop stands."""
    regression: bool
    """Whether it counts as one tonight."""


class ReportNight(TypedDict):
    """What `iha-eval nightly` adds to the report of a night."""

    id: str
    started: str
    regressions: list[str]
    missing: list[str]
    not_judged: list[str]
    standing: list[Any]
    remarks: list[str]
    checks: NotRequired[list[NightCheck]]


class Report(TypedDict):
    """The whole of report.json."""

    schema: int
    title: str
    paired: bool
    """Whether the documents of every task are paired."""
    created: str | None
    models: Models
    headlines: list[Headline]
    tables: list[ReportTable]
    ruler: NotRequired[RulerSummary | None]
    """Where RULER's tasks were compared."""
    curves: list[VoteCurve]
    depth: list[DepthMap]
    disagreements: ReportQuestions
    """Questions that the two models score differently."""
    both_wrong: NotRequired[ReportQuestions]
    """A sample of the questions that neither model got right."""
    trend: list[TrendSeries] | None
    """Of nightly reports: what is watched, over the nights."""
    trend_differences: NotRequired[list[TrendDifference]]
    maps: AlphaMaps | None
    warnings: list[str]
    provenance: Provenance
    night: NotRequired[ReportNight]


class FamilyMember(TypedDict):
    """One pair of a family; its own report lies in a folder."""

    name: str
    folder: str
    model: str
    headlines: list[Headline]
    rows: list[ReportRow]
    """The rows of all its tables; none where training runs are compared."""


class TrainingRunsRow(TypedDict):
    """A method and the baseline compared by their training runs, in one metric of one task."""

    model: str
    baseline: str
    benchmark: str
    label: str
    decides: bool
    """Whether the benchmark's sentence is made of this row."""
    seeds_a: int
    """Training runs of the model."""
    seeds_b: int
    """Training runs of the baseline."""
    n: int
    """Questions that every run has a score for."""
    left_out: int
    """Questions left out because a run has none."""
    means_a: list[float]
    """Mean score of each training run of the model."""
    means_b: list[float]
    points: float
    """Model less baseline."""
    seed_error: float
    """Standard error that comes from the training runs, in points."""
    question_error: float
    """Standard error that comes from the questions, in points."""
    low: float
    """95% interval of `points`."""
    high: float
    p: float
    p_corrected: float
    enough_seeds: int | None
    """Training runs of each that would do at 80% power; None if no number of them would."""
    word: str
    """The verdict: `better`, `worse`, `no significant difference` or `not enough data`."""
    sentence: str


class TrainingRuns(TypedDict):
    """Methods by their training runs."""

    baseline: str
    groups: dict[str, list[str]]
    """Method -> its runs."""
    rows: list[TrainingRunsRow]


class FamilyReport(TypedDict):
    """The report.json of several comparisons that are corrected together."""

    schema: int
    kind: Literal["family"]
    title: str
    created: str
    families: str
    """Over which families p-values are corrected."""
    baseline: str
    members: list[FamilyMember]
    seeds: TrainingRuns | None
    """Of `--seeds` only."""
    warnings: list[str]
    compare: CompareFacts
    night: NotRequired[ReportNight]


class WatchFinding(TypedDict):
    """What a difference comes to along training, in one metric of one task."""

    task: str
    metric: str
    word: str
    """`better`, `worse`, or `no significant difference`, as of the last step."""
    since: int | None
    """First step from which on every look is clear, on the same side; None if the last is not."""
    sentence: str


class MixingStep(TypedDict):
    """How far IHA's tensors are from the identity at a step: means over the layers."""

    step: int
    alpha_q: float
    """Frobenius norm of alpha minus identity, relative to the identity's."""
    alpha_k: float
    alpha_v: float
    collapse: float
    """The same from the nearest collapse in which every head keeps to itself."""


class WatchReport(TypedDict):
    """The report.json of `iha-eval watch`: two training runs at equal steps."""

    schema: int
    kind: Literal["watch"]
    title: str
    created: str
    runs: dict[str, str]
    """`iha` and `baseline`: the folders of the training runs."""
    tokens_per_step: NotRequired[dict[str, int]]
    """Of the same two, where equal tokens are paired: all steps here are IHA's then."""
    findings: list[WatchFinding]
    error: str
    """How often looking again and again calls a difference clear where there is none, in words."""
    trend: list[TrendSeries]
    trend_differences: list[TrendDifference]
    mixing: list[MixingStep]
    reports: dict[str, str]
    """Step -> folder of the comparison at that step."""
    waiting: list[str]
    """What one model alone has so far."""
    warnings: list[str]
