"""Medians, ratios and verdicts as a text that stands by itself."""
import math
import statistics

REFERENCES = ("restic", "borg")
OURS = "holdfast"
# wall time of ours over that of the better of the two others, at most
TARGETS = {
    "src": {"first": 0.50, "unchanged": 0.15, "changed": 0.20, "restore": 0.40, "verify": 0.30},
    "db": {"first": 0.55, "unchanged": 0.25, "changed": 0.50, "restore": 0.60, "verify": 0.35},
    "big": {"first": 0.38, "unchanged": 0.25, "changed": 0.50, "restore": 0.50, "verify": 0.25},
}
CPU_TARGET = 0.60      # CPU seconds of a first backup, over those of the better
PEAK_TARGET = 100      # MiB, of every operation
DIGEST_TARGET = 0.80   # bytes a second of a verification without keys, over what all cores hash with nothing else to do
DIGEST_CORPUS = "big"  # the others are too small to say more than how long it takes to start
GROWTH_TARGET = {"db": 40e6}  # bytes by which the change makes the site grow, at scale 1


class Results:
    """Rows of one run: (corpus, repetition, tool, operation) with a measure.Run and the size of the site."""

    def __init__(self):
        self.rows = []

    def add(self, corpus, repetition, tool, operation, run, site):
        self.rows.append((corpus, repetition, tool, operation, run, site))

    def median(self, corpus, tool, operation, value):
        """Of the runs that succeeded; None without any."""
        values = [value(run, site) for c, _, t, o, run, site in self.rows if (c, t, o) == (corpus, tool, operation) and run.status == 0]
        return statistics.median(values) if values else None

    def wall(self, corpus, tool, operation):
        return self.median(corpus, tool, operation, lambda run, _: run.wall)

    def cpu(self, corpus, tool, operation):
        return self.median(corpus, tool, operation, lambda run, _: run.user + run.system)

    def peak(self, corpus, tool, operation):
        return self.median(corpus, tool, operation, lambda run, _: run.peak_mib)

    def site(self, corpus, tool, operation):
        return self.median(corpus, tool, operation, lambda _, site: site)

    def growth(self, corpus, tool):
        before, after = (self.site(corpus, tool, op) for op in ("unchanged", "changed"))
        return None if before is None or after is None else after - before


def better(values):
    known = [v for v in values if v is not None]
    return min(known) if known else None


def ratio(ours, others):
    best = better(others)
    return ours / best if ours is not None and best else None


def number(value, digits=2):
    return "-" if value is None else f"{value:.{digits}f}"


def megabytes(size):
    return "-" if size is None else f"{size / 1e6:.1f}"


def verdict(value, target):
    if value is None or target is None:
        return ""
    return "met" if value <= target else "NOT MET"


def table(rows):
    """Columns aligned; the first to the left."""
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    lines = ["  ".join([r[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(r[1:], widths[1:]))]).rstrip() for r in rows]
    return "\n".join(lines)


def operation_row(res, corpus, tools, op, roof):
    walls = [res.wall(corpus, t, op) for t in tools]
    ours = res.wall(corpus, OURS, op)
    part = ratio(ours, [res.wall(corpus, t, op) for t in REFERENCES])
    target = TARGETS[corpus].get(op)
    share = roof[op] / ours if op in roof and ours else None
    return [
        op, *map(number, walls), number(part), number(target) if target else "", verdict(part, target),
        *(number(res.cpu(corpus, t, op)) for t in tools), *(number(res.peak(corpus, t, op), 0) for t in tools),
        number(roof.get(op)), "-" if share is None else f"{share:.0%}",
    ]


def digest_row(res, corpus, hashes):
    seconds, stored = res.wall(corpus, OURS, "verify, digests"), res.site(corpus, OURS, "verify, digests")
    share = stored / seconds / hashes if seconds and stored else None
    rate = "-" if share is None else f"{stored / seconds / 1e6:.0f} MB/s of {hashes / 1e6:.0f}: {share:.2f}"
    met = "" if share is None else "met" if share >= DIGEST_TARGET else "NOT MET"
    return "digests without keys, of all cores' SHA-256", rate, f"{DIGEST_TARGET:.2f}", met


def extra_rows(res, corpus, operations, scale, hashes):
    cpu = ratio(res.cpu(corpus, OURS, "first"), [res.cpu(corpus, t, "first") for t in REFERENCES])
    yield "CPU of a first backup, ratio", number(cpu), f"{CPU_TARGET:.2f}", verdict(cpu, CPU_TARGET)
    peaks = [p for p in (res.peak(corpus, OURS, op) for op in operations) if p is not None]
    peak = max(peaks, default=None)
    yield "highest peak memory, MiB", number(peak, 0), str(PEAK_TARGET), verdict(peak, PEAK_TARGET)
    if corpus == DIGEST_CORPUS:
        yield digest_row(res, corpus, hashes)
    if corpus in GROWTH_TARGET:
        target = GROWTH_TARGET[corpus] * scale
        growth = res.growth(corpus, OURS)
        yield "growth by the change, MB", megabytes(growth), f"{target / 1e6:.1f}", verdict(growth, target)


def corpus_report(res, corpus, settings, operations, roof, hashes):
    tools = settings.tools
    head = ["wall s", *tools, "ratio", "target", "", *(f"cpu {t}" for t in tools), *(f"MiB {t}" for t in tools), "roof s", "share"]
    parts = [table([head, *(operation_row(res, corpus, tools, op, roof) for op in operations)])]
    sites = [["site, MB", *tools]]
    sites += [[op, *(megabytes(res.site(corpus, t, op)) for t in tools)] for op in ("first", "unchanged", "changed")]
    sites.append(["growth by the change", *(megabytes(res.growth(corpus, t)) for t in tools)])
    parts.append(table(sites))
    parts.append(table([["holdfast", "is", "target", ""], *map(list, extra_rows(res, corpus, operations, settings.scale, hashes))]))
    return "\n\n".join(parts)


def rates_line(rates):
    def text(name, rate):
        return f"{name} {rate / 1e3:.0f} thousand/s" if name in ("create", "walk") else f"{name} {rate / 1e6:.0f} MB/s"
    return ", ".join(text(n, r) for n, r in rates.items() if math.isfinite(r))
