"""What the tests of every experiment ask of its claims: one of them, on results of a world made for it."""

from collections.abc import Iterator, Mapping
from copy import copy

from tests.programs import finding
from weightdecay.claims.model import Claim
from weightdecay.results import Results


class Judgments(Mapping[str, Claim]):
    """The claims of a finding by these results, by id: a claim is judged when it is asked for, all are where all are.

    Most worlds are made for a single claim, and all claims of a finding take ten times longer than one.
    """

    def __init__(self, name: str, results: Results, scale: str = "laptop"):
        self._finding, self._results, self._scale = finding(name), results, scale
        self._claims: dict[str, Claim] = {}

    def __getitem__(self, id: str) -> Claim:
        if id not in self._claims and id in self._finding.config.criteria:
            self._finding.check()  # imports the judges, which must be those of all criteria
            alone = copy(self._finding)
            alone.config = self._finding.config.model_copy(update={"criteria": {id: self._finding.config.criteria[id]}})
            alone._judges = {id: self._finding._judges[id]}
            (self._claims[id],) = alone.judge(self._results, self._scale)
        return self._claims[id]

    def __iter__(self) -> Iterator[str]:
        if len(self._claims) < len(self):
            self._claims = {claim.id: claim for claim in self._finding.judge(self._results, self._scale)}
        return iter(self._claims)

    def __len__(self) -> int:
        return len(self._finding.config.criteria)
