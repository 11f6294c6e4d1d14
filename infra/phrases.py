"""Finds phrases that the project does not use, in all tracked text files. `make lint` runs it."""

import re
import subprocess
import sys
from pathlib import Path

# Regular expressions for whole words, and the wording to use instead.
PHRASES = {
    r"whoever|whatever (passes|comes)": "the actor or thing",
    r"somebody|anybody|nobody|no one|someone": "user, client or another actor",
    r"people|person": "user",
    r"who (is|are|was) (deleted|banned|signed|told)": "the user that",
    r"(it|this|that|which|what|he|she) (is|are|was|were) no(?! (longer|more|less|later)\b)": "is not a",
    r"(is|are|was|were) none(?! of\b)": "is missing",
    r"(leav(e|es|ing)|left) (it |them )?(away|out)": "omit",
    r"what (became of|is (read|needed|shown|stored) of)": "the outcome of, the attributes of",
    r"anew": "again",
    r"by itself": "only, without, or nothing",
    r"(?<!\bwould )(has|have|had) to (be|do|have|come|go|wait|send|answer|find|succeed|get|make)": "must",
    r"alone(?=[.,;:)])": "only, before the word that it limits",
    r"(tells|told) of|is told|are told|was told": "reports, reported",
    r"vouch(es|ed)?( for)?": "Clerk-verified",
    r"(caller|client|user|Clerk)'s word": "user-supplied values, Clerk-verified values",
    r"speaks? of": "has, describes",
    r"(alarm|alarms|it) rings?": "alarm fires",
    r"e-mail": "email",
    r"is answered (with )?[1-5]\d\d|answers? (with )?[1-5]\d\d": "returns the status",
    r"(is|are|was|were) refused": "is rejected",
    r"for ever": "permanently, forever",
    r"in step with": "synchronized with",
    r"makes? no use of": "does not apply, does not use",
    r"worked out": "computed",
    r"(is|was|were|are) broken off": "is interrupted",
    r"as good as": "the same as",
    r"in its stead": "in its place",
}

# Files in the words of others, and this list.
EXCEPTIONS = ("LICENSE", "infra/phrases.py", ".lock", "-lock.json", ".proptest-regressions")


def main() -> int:
    patterns = [(re.compile(rf"\b(?:{phrase})(?!\w)", re.IGNORECASE), wording) for phrase, wording in PHRASES.items()]
    listed = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True, text=True)
    found = 0
    for name in listed.stdout.split("\0"):
        if not name or name.endswith(EXCEPTIONS):
            continue
        try:
            text = Path(name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            for pattern, wording in patterns:
                for match in pattern.finditer(line):
                    print(f'{name}:{number}: "{match[0]}"; use: {wording}')
                    found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
