# SPDX-License-Identifier: Apache-2.0
"""What is corrected in EmoBox's metadata, and where its speakers are found, in tables."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LabelFix:
    """A label that the published map gets wrong, or does not have.

    Attributes:
        corpus: The corpus, as EmoBox calls it.
        label: As it stands in the lists.
        target: What it stands for; empty leaves its utterances out, listed with the reason.
        reason: Why.
    """

    corpus: str
    label: str
    target: str
    reason: str


LABEL_FIXES = (
    LabelFix(
        "emodb",
        "neutral",
        "Neutral",
        "label_map.json has 'Neutral', the lists have 'neutral': 79 utterances had no class",
    ),
    LabelFix(
        "asvpesd",
        "17",
        "",
        "the corpus has the emotions 01 to 13; 17 is a slip in one file's name, and a class of one "
        "utterance cannot be both learnt and tested",
    ),
)
"""Other oddities need no correction of labels: EMOVO's map is called label_dict.json, EmoDB writes
'boredem' in lists and map alike, and ASED's one 'S' is in its map."""


SPEAKER_PATTERNS = {
    "asvpesd": "actor_{speaker:\\d+}/{_:[^/]*}",
    "casia": "{speaker:[a-z]+}/{_:[a-z]+}/{_:[^/]*}",
    "emovdb": "{speaker:[a-z]+}_{_:[A-Z][a-z]+}/{_:[^/]*}",
    "enterface": "subject {speaker:\\d+}/**/{_:[^/]*}",
    "jlcorpus": "{speaker:(?:fe)?male\\d}_{_:[^/]*}",
    "mead": "{speaker:[MW]\\d{3}}/audio/**/{_:[^/]*}",
    "oreau": "{speaker:\\d\\d}a{_:\\d\\d[A-Z][^/]*}",
    "polish": "{speaker:[a-z]\\d}.{_:[^/]*}",
}
"""Where the paths of corpora that have no description here tell the speaker. Those of
EMOZIONALMENTE, M3ED, MELD, MER2023, MESD, MSP-Podcast and RESD do not."""

ONE_SPEAKER = ("emns", "pavoque")
"""Corpora of a single voice: every split shares it."""
