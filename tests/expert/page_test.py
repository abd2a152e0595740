#!/usr/bin/env python3
"""A page shows an example as it is: its source, and what the program says when it is run.

usage: page_test.py PAGE SOURCE PROGRAM
"""
import subprocess
import sys


def main():
    page_path, source_path, program = sys.argv[1:]
    with open(page_path) as page_file, open(source_path) as source_file:
        page, source = page_file.read(), source_file.read()
    said = subprocess.run([program], check=True, capture_output=True, text=True, timeout=60).stdout
    failed = False
    for what, fence, text in ((source_path, "```cpp\n", source), (program, "```\n", said)):
        if fence + text + "```\n" not in page:
            failed = True
            print(f"{page_path}: expected a block with this, of {what}:\n{text}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
