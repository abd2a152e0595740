#!/usr/bin/env python3
"""Whole runs of tutti-perf: results verified, the JSON's shape, and nothing left behind.

    run_test.py FOLDER_OF_PROGRAMS
"""
import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest

BIN = sys.argv.pop(1)
QUICK = ["--iters", "2", "--batches", "2", "--timeout", "60"]
FIELDS = ["collective", "system", "transport", "memory", "algorithm", "ranks", "bytes", "count",
          "dtype", "op", "p50_us", "p99_us", "algbw_gbs", "busbw_gbs", "cpu_us", "wrong"]
EXPERT_FIELDS = ["tokens", "hidden", "topk", "experts", "layout", "quant", "reduce", "direction",
                 "routing", "ranks_per_node", "algo", "payload_bytes", "payload_by_tier",
                 "wire_bytes", "wire_by_tier", "min_bytes", "min_by_tier", "bytes_over_min",
                 "time_over_bound"]
LAYOUTS = ["flat", "expert_major", "expert_slab", "rank_major"]
COLLECTIVES = ["all_reduce", "reduce", "broadcast", "all_gather", "reduce_scatter", "gather",
               "scatter", "all_to_all", "all_to_all_v", "send_recv", "barrier"]


def clean_environment(**extra):
    """Without what a launcher around the tests may have set."""
    prefixes = ("TUTTI_", "OMPI_", "PMI_", "PMIX_")
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(prefixes) and name not in ("RANK", "WORLD_SIZE")}
    return {**kept, **extra}


def perf(*words, **extra):
    return subprocess.run([f"{BIN}/tutti-perf", *words], env=clean_environment(**extra),
                          capture_output=True, text=True, timeout=120, check=False)


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
        return [int(word) for word in file.read().split()]


class RunTest(unittest.TestCase):
    def rows_of(self, *words):
        with tempfile.TemporaryDirectory() as folder:
            done = perf(*words, *QUICK, "--json", f"{folder}/rows.json")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            with open(f"{folder}/rows.json", encoding="utf-8") as file:
                document = json.load(file)
        self.assertEqual(list(document), ["meta", "rows"])
        for row in document["rows"]:
            expert = row["collective"].startswith("expert_")
            self.assertEqual(list(row), FIELDS + (EXPERT_FIELDS if expert else []))
            # The limit of experts moves bytes, and has no result.
            unchecked = expert and row["system"] == "limit"
            self.assertEqual(row["wrong"], None if unchecked else 0, row)
            self.assertGreater(row["p50_us"], 0)
            self.assertGreaterEqual(row["busbw_gbs"], 0)
        return document["rows"]

    def test_every_collective_is_measured_and_right(self):
        rows = self.rows_of("all", "-n", "3", "-t", "inproc", "-b", "100", "-e", "64K", "-f", "100")
        self.assertEqual(list(dict.fromkeys(row["collective"] for row in rows)), COLLECTIVES)
        by_name = {row["collective"]: row for row in rows if row["bytes"] < 1000}
        self.assertEqual((by_name["all_gather"]["count"], by_name["all_gather"]["bytes"]), (8, 96))
        self.assertEqual((by_name["all_reduce"]["count"], by_name["all_reduce"]["bytes"]), (25, 100))
        self.assertEqual(by_name["barrier"]["bytes"], 0)
        self.assertIsNone(by_name["barrier"]["dtype"])
        self.assertEqual(by_name["broadcast"]["transport"], "inproc")

    def test_in_place_registered_and_fixed_root(self):
        rows = self.rows_of("all", "-n", "2", "-t", "inproc", "-b", "4K", "-e", "4K", "--in-place",
                            "-m", "registered", "-d", "bf16", "-o", "avg", "-r", "1")
        self.assertEqual(len(rows), 9)  # neither all_to_all_v nor send_recv
        self.assertEqual({row["memory"] for row in rows}, {"registered"})

    def test_the_limit_and_what_it_lacks(self):
        rows = self.rows_of("all", "-n", "2", "-t", "inproc", "-b", "4K", "-e", "4K", "--peers",
                            "limit")
        limited = {row["collective"] for row in rows if row["system"] == "limit"}
        self.assertIn("all_reduce", limited)
        self.assertIn("all_to_all", limited)
        self.assertNotIn("reduce_scatter", limited)

    def test_peers_are_right(self):
        for peer in ("openmpi", "mpich", "gloo"):
            if not os.access(f"{BIN}/tutti-peer-{peer}", os.X_OK):
                continue
            with self.subTest(peer=peer):
                rows = self.rows_of("all", "-n", "2", "-t", "inproc", "-b", "40K", "-e", "40K",
                                    "--peers", peer)
                measured = {row["collective"] for row in rows if row["system"] == peer}
                self.assertEqual(measured, set(COLLECTIVES))

    def experts(self, command, *words, ranks=3):
        rows = self.rows_of(f"expert_{command}", "-n", str(ranks), "--tokens", "19,3", "--hidden", "200",
                            "--experts", "10", "--topk", "4", "--layout", ",".join(LAYOUTS), *words)
        for row in rows:
            self.assertEqual((row["hidden"], row["topk"], row["experts"]), (200, 4, 10))
            self.assertGreater(row["time_over_bound"], 0)
        mine = [row for row in rows if row["system"] == "tutti"]
        for row in mine:
            # A row to every rank that needs it, and nothing beside it.
            self.assertEqual(row["bytes_over_min"], 1)
            self.assertEqual(row["payload_by_tier"], row["min_by_tier"])
            self.assertEqual(row["wire_bytes"], row["payload_bytes"])
        self.assertEqual([(row["layout"], row["tokens"]) for row in mine],
                         [(layout, tokens) for layout in LAYOUTS for tokens in (19, 3)])
        return rows

    def test_experts_are_right(self):
        for words in (["round_trip"], ["round_trip", "-m", "registered", "--routing", "one"],
                      ["dispatch", "--quant", "fp8e4m3_b128", "--routing", "zipf:1.1"],
                      ["dispatch", "--quant", "int8_token"], ["dispatch", "--quant", "forward"],
                      ["combine", "--reduce", "slot"], ["round_trip", "--direction", "bwd"]):
            with self.subTest(words=words):
                rows = self.experts(*words, "-t", "shm")
                self.assertEqual({row["system"] for row in rows}, {"tutti", "limit"})

    def test_bytes_of_experts_by_tier(self):
        words = ["round_trip", "--ranks-per-node", "2", "--algo"]
        direct = self.experts(*words, "direct", "-t", "shm", ranks=4)
        for transport in ("shm", "gloo", "mpi"):
            if transport != "shm" and not os.path.exists(f"{BIN}/../lib/libtutti_{transport}.so"):
                continue
            with self.subTest(transport=transport):
                rows = self.experts(*words, "hier", "--reduce", "node", "-t", transport, ranks=4)
                for one, other in zip(direct, rows):
                    near, far = one["min_by_tier"]
                    self.assertGreater(far, near)
                    self.assertLess(other["min_by_tier"][1], far)
                    self.assertEqual(sum(other["min_by_tier"]), near + far)

    def test_peers_of_experts_are_right(self):
        for peer, ways in (("openmpi", ["dedup", "assign"]), ("mpich", ["dedup", "assign"]),
                           ("gloo", ["a2av"])):
            if not os.access(f"{BIN}/tutti-peer-{peer}", os.X_OK):
                continue
            with self.subTest(peer=peer):
                peers = ",".join(f"{peer}-{way}" for way in ways)
                rows = self.experts("round_trip", "-t", "shm", "--peers", peers)
                theirs = [row for row in rows if row["system"].startswith(peer)]
                self.assertEqual({row["system"] for row in theirs},
                                 {f"{peer}-{way}" for way in ways})
                for row in theirs:
                    self.assertEqual(row["system"], f"{peer}-{row['algo']}")
                    if row["algo"] == "assign":
                        self.assertGreater(row["bytes_over_min"], 1)
                    else:
                        self.assertEqual(row["bytes_over_min"], 1)

    def test_all_gather_and_reduce_scatter_of_experts(self):
        if not os.access(f"{BIN}/tutti-peer-gloo", os.X_OK):
            self.skipTest("built without Gloo")
        for command, ranks in (("round_trip", 2), ("round_trip", 4), ("dispatch", 3)):
            with self.subTest(command=command, ranks=ranks):
                rows = self.experts(command, "-t", "shm", "--peers", "gloo-ag-rs",
                                    "--peer-stores", "cached", ranks=ranks)
                theirs = [row for row in rows if row["system"] == "gloo-ag-rs"]
                self.assertEqual(len(theirs), 8)
                for row in theirs:
                    self.assertGreaterEqual(row["bytes_over_min"], 1)

    def need_module(self, name):
        if not os.path.exists(f"{BIN}/../lib/libtutti_{name}.so"):
            self.skipTest(f"built without libtutti_{name}.so")

    def test_processes_that_it_starts(self):
        for name in ("mpi", "gloo"):
            with self.subTest(transport=name):
                self.need_module(name)
                rows = self.rows_of("all", "-n", "3", "-t", name, "-b", "40K", "-e", "40K")
                self.assertEqual({row["transport"] for row in rows}, {name})

    def test_processes_that_a_launcher_starts(self):
        launchers = {
            "mpi": ["mpirun.openmpi", "--oversubscribe", "--bind-to", "none"],
            "gloo": [f"{BIN}/tutti-run"],
        }
        for name, launcher in launchers.items():
            with self.subTest(transport=name):
                self.need_module(name)
                self.run_launched(launcher, name)

    def run_launched(self, launcher, transport):
        environment = clean_environment(OMPI_ALLOW_RUN_AS_ROOT="1",
                                        OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [*launcher, "-n", "3", f"{BIN}/tutti-perf", "all", "-t", transport, "-b", "40K",
                 "-e", "40K", *QUICK, "--json", f"{folder}/rows.json"], env=environment,
                capture_output=True, text=True, timeout=120, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            with open(f"{folder}/rows.json", encoding="utf-8") as file:
                rows = json.load(file)["rows"]
        self.assertEqual([row["collective"] for row in rows], COLLECTIVES)
        self.assertEqual({(row["ranks"], row["wrong"]) for row in rows}, {(3, 0)})

    def test_algorithms_in_turns(self):
        with tempfile.TemporaryDirectory() as folder:
            done = perf("select", "-n", "3", "-t", "shm", "-c", "reduce", "-e", "4K", "-f", "512",
                        "--rounds", "2", *QUICK, "--json", f"{folder}/rows.json")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            with open(f"{folder}/rows.json", encoding="utf-8") as file:
                document = json.load(file)
        self.assertEqual(list(document), ["meta", "rows", "table"])
        self.assertEqual([(row["system"], row["algorithm"], row["bytes"], row["wrong"])
                          for row in document["rows"]],
                         2 * [("tutti", algorithm, size, 0) for size in (8, 4096)
                              for algorithm in ("direct", "binomial")])
        self.assertEqual(list(document["meta"]["versions"]), ["tutti"])
        self.assertEqual(len(document["meta"]["cpus"]["tutti"]), 3)
        # The rows are printed as the source has them; the last one is for any size.
        printed = [line for line in done.stdout.splitlines() if line.startswith("{k")]
        self.assertEqual(printed, document["table"])
        self.assertIn("Collective::kReduce, 3, kAnyBytes", printed[-1])

    def test_the_picture(self):
        with tempfile.TemporaryDirectory() as folder:
            done = perf("all_reduce", "-t", "inproc", "-e", "1K", *QUICK, "--plot",
                        f"{folder}/all_reduce.png")
            self.assertEqual(done.returncode, 0, done.stderr)
            with open(f"{folder}/all_reduce.png", "rb") as file:
                self.assertEqual(file.read(8), b"\x89PNG\r\n\x1a\n")

    def test_usage_errors(self):
        self.assertEqual(perf("all_reduce", "-r", "2").returncode, 2)
        done = perf("all_gather", "-n", "3", "-b", "8", "-e", "8")
        self.assertEqual(done.returncode, 2)
        self.assertIn("no size from 8 to 8 bytes", done.stderr)
        done = perf("all_reduce", "--peers", "gloo", TUTTI_RANK="0", TUTTI_NRANKS="1")
        self.assertEqual(done.returncode, 2)
        self.assertIn("TUTTI_RANK", done.stderr)
        done = perf("select", TUTTI_RANK="0", TUTTI_NRANKS="1")
        self.assertEqual(done.returncode, 2)
        self.assertIn("without the launcher", done.stderr)
        self.assertEqual(perf("expert_dispatch", "--topk", "9", "--experts", "8").returncode, 2)
        self.assertEqual(perf("expert_dispatch", "--layout", "round").returncode, 2)
        self.assertEqual(perf("expert_dispatch", "--peer-stores", "none").returncode, 2)
        done = perf("expert_combine", "--peers", "openmpi-often")
        self.assertEqual(done.returncode, 2)
        self.assertIn("openmpi-often", done.stderr)
        done = perf("all_reduce", "-n", "3", TUTTI_RANK="0", TUTTI_NRANKS="2")
        self.assertEqual(done.returncode, 2)
        self.assertIn("started 2 ranks", done.stderr)

    def test_an_interrupt_ends_everything(self):
        with subprocess.Popen(
                [f"{BIN}/tutti-perf", "all", "-t", "inproc", "--peers", "limit"],
                env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                text=True) as process:
            # The heads of the table: both systems are there.
            lines = [process.stdout.readline() for _ in range(5)]
            started = children_of(process.pid)
            self.assertEqual(len(started), 2, lines)
            process.send_signal(signal.SIGINT)
            _, complaint = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        self.assertIn("interrupted", complaint)
        for pid in started:
            self.assertFalse(os.path.exists(f"/proc/{pid}"))

    def test_a_rank_that_dies_is_noticed(self):
        with subprocess.Popen(
                [f"{BIN}/tutti-perf", "all", "-t", "inproc", "--peers", "limit"],
                env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                text=True) as process:
            for _ in range(5):
                process.stdout.readline()
            os.kill(children_of(process.pid)[1], signal.SIGKILL)
            _, complaint = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 1)
        self.assertIn("limit", complaint)


if __name__ == "__main__":
    unittest.main(verbosity=1)
