"""Finds phrases that the project does not use, in all text files that git does not ignore. `make lint` runs it."""

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
    r"(?<!would\s)(has|have|had) to (be|do|have|come|go|wait|send|answer|find|succeed|get|make)": "must",
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


# A space of a phrase can be a line break, also within a comment.
SPACE = r"(?:[ \t]+|[ \t]*\n[ \t]*(?:(?://[/!]?|#|\*|>)[ \t]+)?)"


def main() -> int:
    patterns = []
    for phrase, wording in PHRASES.items():
        phrase = phrase.replace(" ", SPACE)
        patterns.append((re.compile(rf"\b(?:{phrase})(?!\w)", re.IGNORECASE), wording))
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True)
    found = 0
    for name in filter(None, listed.stdout.split("\0")):
        path = Path(name)
        # A file that was deleted is listed until the deletion is committed.
        if name.endswith(EXCEPTIONS) or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for pattern, wording in patterns:
            for match in pattern.finditer(text):
                number = text.count("\n", 0, match.start()) + 1
                print(f'{name}:{number}: "{" ".join(match[0].split())}"; use: {wording}')
                found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
