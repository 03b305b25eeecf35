"""What PromQL expressions ask for, held against what was scraped. Only as much of PromQL as that takes: promtool says whether
an expression is one; here it is read which series it selects, by which labels it groups and by which functions it reads them."""

import json
import re
from dataclasses import dataclass, field

TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|\d[\w.]*|[a-zA-Z_:][\w:]*|=~|!~|!=|==|<=|>=|\S')
WORD = re.compile(r"[a-zA-Z_:]")
NOT_METRICS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}
GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}
# Of a counter the rate counts, of a gauge the slope; the other way round neither means anything.
READS = {"rate": "counter", "irate": "counter", "increase": "counter", "deriv": "gauge", "delta": "gauge"}
# What is put in place of Grafana's variables.
VARIABLES = {"$__rate_interval": "5m", "$namespace": ".*"}


@dataclass
class Selector:
    metric: str
    matchers: list = field(default_factory=list)
    functions: list = field(default_factory=list)
    grouped_by: set = field(default_factory=set)


def of_rules(groups):
    return [rule["expr"] for group in groups for rule in group["rules"]]


def of_dashboard(dashboard):
    """What its panels ask, and which metrics its variables are taken from."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield with_values(target["expr"])
    for variable in dashboard["templating"]["list"]:
        yield from re.findall(r"label_values\(([^,]+), \w+\)", variable["query"])


def with_values(expression):
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, f"a variable without a value: {expression}"
    return expression


class Reading:
    """Goes once through an expression. `open` are the parentheses it is in: the function each belongs to, the labels that it
    groups by, and how many selectors there were before it."""

    def __init__(self, expression):
        self.tokens = TOKEN.findall(expression)
        self.found, self.open = [], []
        self.function, self.labels, self.closed_at = "", set(), None
        while self.tokens:
            self.take(self.tokens.pop(0))

    def take(self, token):
        if token in GROUPING:
            self.group(token)
        elif token == "(":
            self.open.append((self.function, self.labels, len(self.found)))
            self.function, self.labels = "", set()
        elif token == ")":
            self.closed_at = self.open.pop()[2]
        elif WORD.match(token) and token not in NOT_METRICS:
            self.word(token)

    def group(self, word):
        """`sum by (a) (x)` groups what follows, `sum (x) by (a)` what is behind, and `on (a)` concerns both sides."""
        labels = self.label_list() if self.tokens[:1] == ["("] else set()
        if word in ("by", "without") and self.function:
            self.labels = labels
        else:
            since = self.closed_at if word in ("by", "without") else 0
            for selector in self.found[since:]:
                selector.grouped_by |= labels

    def label_list(self):
        end = self.tokens.index(")")
        labels = {token for token in self.tokens[:end] if WORD.match(token)}
        del self.tokens[: end + 1]
        return labels

    def word(self, name):
        if self.tokens[:1] == ["("] or self.tokens[:1] and self.tokens[0] in ("by", "without"):
            self.function = name
            return
        functions = [function for function, _, _ in self.open if function]
        grouped = set().union(*(labels for _, labels, _ in self.open))
        self.found.append(Selector(name, self.matchers(), functions, grouped))

    def matchers(self):
        if self.tokens[:1] != ["{"]:
            return []
        end = self.tokens.index("}")
        inside = self.tokens[1:end]
        del self.tokens[: end + 1]
        return [(inside[at], inside[at + 1], json.loads(inside[at + 2])) for at in range(0, len(inside), 4)]


def selectors(expression):
    return Reading(expression).found


class Scraped:
    """Series by the names of their metrics, and the metrics' types, from pages of /metrics with the labels that each target
    gets."""

    def __init__(self):
        self.series, self.types = {}, {}

    def add(self, text, labels):
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split()
                self.types[name] = kind
            elif line and not line.startswith("#"):
                name, own = re.match(r"([\w:]+)(?:\{(.*)\})? ", line).groups()
                own = dict(re.findall(r'(\w+)="((?:\\.|[^"\\])*)"', own or ""))
                self.series.setdefault(name, []).append(labels | own)

    def kind(self, metric):
        """Parts of a histogram count, as it does itself."""
        histogram = re.sub(r"_(bucket|sum|count)$", "", metric)
        return "counter" if self.types.get(histogram) == "histogram" else self.types.get(metric)

    def mistakes(self, expression):
        """What the expression asks for in vain, in words."""
        return [mistake for selector in selectors(expression) for mistake in self.mistakes_of(selector)]

    def mistakes_of(self, selector):
        metric, series = selector.metric, self.series.get(selector.metric)
        if not series:
            return [f"{metric}: there is no such metric"]
        labels = selector.grouped_by | {label for label, _, _ in selector.matchers}
        said = [f"{metric}: it has no label {one}" for one in sorted(labels) if not any(one in of for of in series)]
        if not said and not any(matches(selector.matchers, of) for of in series):
            said = [f"{metric}: nothing has {selector.matchers}"]
        wanted = {READS[function] for function in selector.functions if function in READS}
        if wanted - {self.kind(metric)}:
            said.append(f"{metric}: {selector.functions} of a {self.kind(metric)}")
        return said


def matches(matchers, labels):
    compare = {
        "=": lambda value, wanted: value == wanted,
        "!=": lambda value, wanted: value != wanted,
        "=~": lambda value, wanted: re.fullmatch(wanted, value) is not None,
        "!~": lambda value, wanted: re.fullmatch(wanted, value) is None,
    }
    return all(compare[operator](labels.get(label, ""), wanted) for label, operator, wanted in matchers)
