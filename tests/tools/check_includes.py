#!/usr/bin/env python3
"""The rules on source files that no compiler checks.

Who may include whom (docs/architecture.md, section 2), no include cycles, one file per wrapped
library, the environment read in one file, no words that the house style bans, no file above 400
lines. Prints one line per offence and fails when there is one.

    check_includes.py [ROOT]
"""
import os
import re
import sys

FOLDERS = ("comm", "transports", "frameworks", "tests", "bench", "docs")
SOURCES = (".h", ".hpp", ".c", ".cc")

# Layer -> what its files may include: layers, or single files by path. A file belongs to the layer
# with the longest folder that holds it. "*" is everything except tests and benchmarks.
BASE = ["comm/base"]
SCHEDULE = BASE + ["comm/schedule"]
DEVICE = BASE + ["comm/device", "comm/include/tutti/device.h"]
EXEC = SCHEDULE + DEVICE + ["comm/exec", "transports/transport.h"]
BOOTSTRAP = BASE + ["comm/net", "comm/bootstrap"]
RUNTIME = EXEC + BOOTSTRAP + ["comm/runtime", "transports/builtin.h", "transports/module.h",
                                     "transports/waiter.h"]
SEAM = BASE + ["comm/net", "transports/transport.h"]
MODULE = ["transports/builtin.h", "transports/module.h", "comm/include"]
RULES = {
    "comm/include": ["comm/include"],
    "comm/base": BASE,
    "comm/net": BASE + ["comm/net"],
    "comm/bootstrap": BOOTSTRAP,
    "comm/schedule": SCHEDULE,
    "comm/verify": SCHEDULE + ["comm/verify"],
    "comm/device": DEVICE,
    "comm/exec": EXEC,
    "comm/runtime": RUNTIME,
    "comm/expert": RUNTIME + ["comm/expert"],
    "comm/api": ["*"],
    "comm/tools": ["*"],
    # The seam itself, and the list of what stands behind it.
    "transports": SEAM + ["transports"],
    "transports/transport.h": SEAM,
    "frameworks": ["comm/include", "frameworks"],
    "tests": ["*", "tests", "bench"],
    "bench": ["*", "bench", "tests/support"],
    "docs": ["comm/include", "transports/transport.h", "docs"],
}
# Each folder under transports/ is a layer of its own: the seam and itself, never another one.
TRANSPORT_RULE = SEAM + MODULE + ["transports/registrations.h"]
# But for these two, which speak one protocol.
RING_USERS = ("inproc", "shm")

# Third-party includes that only these files may have: a slow or replaceable library stays behind
# one door.
DOORS = {
    "spdlog/": ["comm/base/log.cc"],
    "fmt/": [],
    "xxhash.h": ["comm/base/hash.cc"],
    "CLI/": ["comm/tools/cli.cc"],
    "hwy/": ["comm/device/"],
}
# At most one file in all, whichever it is.
ONE_FILE_ONLY = ["nlohmann/"]

# Words with a reason, looked for outside comments; (pattern, files that may, why).
LIBRARY = ("comm/", "transports/", "frameworks/")
BANNED = [
    (r"\b(secure_getenv|getenv|setenv|putenv|unsetenv|environ)\b", ["comm/base/config.cc"],
     "the environment is read in comm/base/config.cc only"),
    (r"\batomic_thread_fence\b|\b__sync_synchronize\b|\b__atomic_thread_fence\b|\b_mm_mfence\b", [],
     "a fence that ThreadSanitizer cannot see"),
    (r"\bgoto\b", [], "goto"),
    (r"<source_location>|<format>|<expected>|\bstd::views\b|\bstd::ranges::views\b|\b_Float16\b", [],
     "C++20 that one of our compilers lacks"),
]

MAX_LINES = 400
# Longer files, each with its reason.
LONG_FILES = {}

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')


def source_files(root):
    for folder in FOLDERS:
        for where, folders, names in os.walk(os.path.join(root, folder)):
            folders.sort()
            for name in sorted(names):
                if name.endswith(SOURCES):
                    yield os.path.relpath(os.path.join(where, name), root).replace(os.sep, "/")


def strip_comments(text):
    """The text without comments and string contents, line by line as before."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)

    def blank(match):
        return '""' if match.group().startswith('"') else "\n" * match.group().count("\n")

    return pattern.sub(blank, text)


def is_under(path, place):
    return path == place or path.startswith(place.rstrip("/") + "/")


def rule_of(path):
    """The list of places that the file at `path` may include."""
    parts = path.split("/")
    if parts[0] == "transports" and len(parts) > 2:
        ring = ["transports/ring"] if parts[1] in RING_USERS else []
        return TRANSPORT_RULE + ring + ["/".join(parts[:2])]
    layers = [layer for layer in RULES if is_under(path, layer)]
    return RULES[max(layers, key=len)] if layers else []


def may_include(path, target):
    for place in rule_of(path):
        if place == "*" and not target.startswith(("tests/", "bench/")):
            return True
        if is_under(target, place):
            return True
    return False


class Checker:
    def __init__(self, root):
        self.root = root
        self.files = list(source_files(root))
        self.known = set(self.files)
        self.graph = {}
        self.once = {}
        self.errors = []

    def fail(self, path, line, text):
        self.errors.append(f"{path}:{line}: {text}")

    def resolve(self, name):
        """The project file that an include names, or None for a file of someone else."""
        for candidate in (name, "comm/include/" + name):
            if candidate in self.known:
                return candidate
        return None

    def check_third_party(self, path, line, name):
        for prefix, doors in DOORS.items():
            if name.startswith(prefix) and not any(path.startswith(door) for door in doors):
                self.fail(path, line, f"{name} belongs in {' or '.join(doors) or 'no file'} only")
        for prefix in ONE_FILE_ONLY:
            if name.startswith(prefix):
                first = self.once.setdefault(prefix, path)
                if first != path:
                    self.fail(path, line, f"{name} is already included in {first}")
                if not path.endswith(".cc"):
                    self.fail(path, line, f"{name} belongs in a .cc file")

    def check_include(self, path, line, quoted, name):
        target = self.resolve(name)
        if target is None:
            if quoted and (name.split("/")[0] in FOLDERS + ("tutti",) or "/" not in name
                           or ".." in name.split("/")):
                self.fail(path, line, f"no file {name} (paths start at the root of the checkout)")
            self.check_third_party(path, line, name)
            return
        # A file of the toggling kind includes itself by design (Highway's targets).
        if target != path:
            self.graph[path].append(target)
        if not may_include(path, target):
            self.fail(path, line, f"may not include {target}: see the layers in docs/architecture.md")

    def check_file(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8") as source:
            text = source.read()
        self.graph[path] = []
        lines = text.splitlines()
        for number, line in enumerate(lines, 1):
            match = INCLUDE.match(line)
            if match:
                self.check_include(path, number, match.group(1) is not None,
                                   match.group(1) or match.group(2))
        if len(lines) > MAX_LINES and path not in LONG_FILES:
            self.fail(path, len(lines), f"{len(lines)} lines, at most {MAX_LINES}")
        self.check_once(path, text)
        if path.startswith(LIBRARY):
            self.check_words(path, text)

    def check_once(self, path, text):
        """Headers guard themselves; the public C ones may do it the C99 way, and what Highway
        compiles once per target has its own toggle."""
        if not path.endswith((".h", ".hpp")) or "#pragma once" in text:
            return
        if path.endswith("-inl.h") and "HWY_TARGET_TOGGLE" in text:
            return
        if path.startswith("comm/include/") and re.search(r"^#ifndef (\w+)\n#define \1$", text, re.M):
            return
        self.fail(path, 1, "no #pragma once")

    def check_words(self, path, text):
        # System includes are no strings, so they survive the stripping.
        for number, line in enumerate(strip_comments(text).splitlines(), 1):
            for pattern, allowed, why in BANNED:
                if path not in allowed and re.search(pattern, line):
                    self.fail(path, number, why)

    def check_cycles(self):
        state = {}  # absent: not seen, 1: on the path, 2: done
        for start in self.files:
            stack = [(start, iter(self.graph[start]))] if start not in state else []
            state.setdefault(start, 1)
            while stack:
                path, targets = stack[-1]
                target = next(targets, None)
                if target is None:
                    state[path] = 2
                    stack.pop()
                elif state.get(target) == 1:
                    cycle = [entry[0] for entry in stack]
                    chain = cycle[cycle.index(target):] + [target]
                    self.fail(path, 1, "include cycle: " + " -> ".join(chain))
                elif target not in state:
                    state[target] = 1
                    stack.append((target, iter(self.graph[target])))

    def run(self):
        for path in self.files:
            self.check_file(path)
        for path in LONG_FILES:
            full = os.path.join(self.root, path)
            if path in self.known:
                with open(full, encoding="utf-8") as source:
                    if len(source.read().splitlines()) <= MAX_LINES:
                        self.fail(path, 1, "is short enough now: take it out of LONG_FILES")
        self.check_cycles()
        return self.errors


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "..", "..")
    checker = Checker(root)
    errors = checker.run()
    for error in errors:
        print(error)
    print(f"{len(checker.files)} files, {len(errors)} offences")
    return 1 if errors or not checker.files else 0


if __name__ == "__main__":
    sys.exit(main())
