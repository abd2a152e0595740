#!/usr/bin/env python3
"""Runs clang-tidy over the files that the release build compiles.

    tidy.py --all                every file
    tidy.py --changed            files changed since the base, and files that include changed ones
    tidy.py FILE...              these, and files that include them
    --base REV                   what "changed" compares with (default: where this branch left
                                 origin/main, or the commit before this one)
    --budget SECONDS             starts no more files after that; says how many were left out
"""
import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import check_includes  # noqa: E402

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))


def git(*arguments):
    """Output lines of a git command, None when it fails. The checkout may belong to someone else."""
    command = ["git", "-C", ROOT, "-c", "safe.directory=*", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else None


def default_base():
    head = git("rev-parse", "HEAD")
    fork = git("merge-base", "HEAD", "origin/main")
    if fork and fork != head:
        return fork[0]
    before = git("rev-parse", "--verify", "-q", "HEAD~1")
    return before[0] if before else None


def changed_files(base):
    """Paths that differ from `base`, with what is not committed; None when git cannot tell."""
    base = base or default_base()
    tracked = git("diff", "--name-only", base) if base else None
    untracked = git("ls-files", "--others", "--exclude-standard")
    if tracked is None or untracked is None:
        return None
    return tracked + untracked


def with_users(paths):
    """The paths and every file that includes one of them, directly or not; nearest first."""
    checker = check_includes.Checker(ROOT)
    checker.run()
    users = {}
    for path, targets in checker.graph.items():
        for target in targets:
            users.setdefault(target, []).append(path)
    found = list(dict.fromkeys(paths))
    seen = set(found)
    for path in found:
        for user in users.get(path, []):
            if user not in seen:
                seen.add(user)
                found.append(user)
    return found


def compiled_files(build):
    """Paths below ROOT that the build compiles, those below the build folder left out."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as database:
        paths = {os.path.realpath(os.path.join(e["directory"], e["file"])) for e in json.load(database)}
    inside = (os.path.relpath(path, ROOT) for path in paths if path.startswith(ROOT + os.sep))
    return sorted(path for path in inside if not path.startswith("build" + os.sep))


def tidy(build, path):
    """(path, exit status, output, seconds)"""
    start = time.monotonic()
    command = ["clang-tidy-14", "--quiet", "-p", build, path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    output = done.stdout if done.returncode == 0 else done.stdout + done.stderr
    return path, done.returncode, output.strip(), time.monotonic() - start


def choose(options, compiled):
    if options.all:
        return compiled
    changed = options.files
    if options.changed:
        changed = changed_files(options.base)
        if changed is None or any(os.path.basename(path) == ".clang-tidy" for path in changed):
            print("checking every file: no base to compare with, or the checks themselves changed")
            return compiled
    wanted = with_users(os.path.normpath(path) for path in changed)
    allowed = set(compiled)
    return [path for path in wanted if path in allowed]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--changed", action="store_true")
    parser.add_argument("--base")
    parser.add_argument("--budget", type=float, default=float("inf"))
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"))
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("files", nargs="*")
    options = parser.parse_args()

    paths = choose(options, compiled_files(options.build))
    stop = time.monotonic() + options.budget
    failed = skipped = 0

    def one(path):
        return tidy(options.build, path) if time.monotonic() < stop else None

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for result in pool.map(one, paths):
            if result is None:
                skipped += 1
                continue
            path, status, output, seconds = result
            print(f"{path}: {'ok' if status == 0 else 'FAILED'}, {seconds:.1f} s", flush=True)
            if output:
                print(output, flush=True)
            failed += status != 0
    left = f", {skipped} left out (over the time budget; tests/run -L tidy does all)" if skipped else ""
    print(f"clang-tidy: {len(paths) - skipped} files checked, {failed} with findings{left}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
