#!/usr/bin/env python3
"""Other people's eyes on the wire format.

    cddl_check.py SCHEMA.cddl GOLDEN_DIRECTORY [NAME=RULE ...]

Each NAME.hex of the directory must be named, be accepted by its RULE of the schema, and be what
cbor2 writes for the same value in canonical form. The RULE `-` is for what is not CBOR. A value of another shape must be refused, so that
a rule which accepts everything is noticed. Prints what is wrong; exits with 1 if anything is.
"""

import sys
from pathlib import Path

import cbor2
from cddl_verifier import Validator

# No rule is for a bare float.
FOREIGN = cbor2.dumps(0.5, canonical=True)


def main() -> int:
    schema, directory, *pairs = sys.argv[1:]
    rules = dict(pair.split("=") for pair in pairs)
    validator = Validator(Path(schema))
    wrong = []
    for file in sorted(Path(directory).glob("*.hex")):
        encoded = bytes.fromhex(file.read_text())
        rule = rules.pop(file.stem, None)
        if rule is None:
            wrong.append(f"{file.stem}: no rule named")
            continue
        if rule == "-":
            continue
        result = validator.validate(encoded, root_type=rule)
        wrong += [f"{file.stem} as {rule}: {error}" for error in result.errors]
        if validator.validate(FOREIGN, root_type=rule).valid:
            wrong.append(f"{rule} accepts a float")
        if cbor2.dumps(cbor2.loads(encoded), canonical=True) != encoded:
            wrong.append(f"{file.stem}: not canonical")
    wrong += [f"{name}: no such file" for name in rules]
    print("\n".join(wrong))
    return 1 if wrong else 0


sys.exit(main())
