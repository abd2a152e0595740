"""Feeds check_includes.py small trees, good and bad."""
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import check_includes  # noqa: E402


class CheckIncludesTest(unittest.TestCase):
    def errors(self, tree):
        """What the checker says about {path: text}; headers are guarded unless the text says not."""
        with tempfile.TemporaryDirectory() as root:
            for path, text in tree.items():
                full = os.path.join(root, path)
                os.makedirs(os.path.dirname(full), exist_ok=True)
                if path.endswith(".h") and "NO GUARD" not in text:
                    text = "#pragma once\n" + text
                with open(full, "w", encoding="utf-8") as out:
                    out.write(text)
            return check_includes.Checker(root).run()

    def assert_clean(self, tree):
        self.assertEqual(self.errors(tree), [])

    def assert_caught(self, tree, *words):
        errors = self.errors(tree)
        self.assertEqual(len(errors), 1, errors)
        for word in words:
            self.assertIn(word, errors[0])

    def test_a_good_tree(self):
        self.assert_clean({
            "comm/base/status.h": "#include <string>\n",
            "comm/schedule/step.h": '#include "comm/base/status.h"\n',
            "comm/exec/bind.cc": '#include "comm/schedule/step.h"\n#include "transports/transport.h"\n',
            "transports/transport.h": '#include "comm/base/status.h"\n',
            "transports/shm/shm.h": '#include "transports/transport.h"\n',
            "transports/builtin.cc": '#include "transports/shm/shm.h"\n',
            "comm/include/tutti/tutti.h": "#ifndef TUTTI_H\n#define TUTTI_H\n#endif\n// NO GUARD\n",
            "comm/api/comm.cc": '#include "tutti/tutti.h"\n#include "comm/schedule/step.h"\n',
            "tests/base/status_test.cc": '#include "comm/base/status.h"\n',
        })

    def test_upward_include(self):
        self.assert_caught({
            "comm/base/a.cc": '#include "comm/exec/b.h"\n',
            "comm/exec/b.h": "",
        }, "comm/base/a.cc:1", "may not include comm/exec/b.h")

    def test_sideways_include(self):
        self.assert_caught({
            "comm/device/a.cc": '#include "comm/schedule/b.h"\n',
            "comm/schedule/b.h": "",
        }, "may not include")

    def test_exec_sees_the_seam_and_nothing_behind_it(self):
        self.assert_caught({
            "comm/exec/a.cc": '#include "transports/inproc/b.h"\n',
            "transports/inproc/b.h": "",
        }, "may not include")

    def test_the_seam_sees_no_transport(self):
        self.assert_caught({
            "transports/transport.h": '#include "transports/inproc/b.h"\n',
            "transports/inproc/b.h": "",
        }, "may not include")

    def test_a_transport_sees_no_other(self):
        self.assert_caught({
            "transports/shm/a.cc": '#include "transports/inproc/b.h"\n',
            "transports/inproc/b.h": "",
        }, "may not include")

    def test_public_headers_see_nothing_of_ours(self):
        self.assert_caught({
            "comm/include/tutti/tutti.h": '#include "comm/base/b.h"\n',
            "comm/base/b.h": "",
        }, "may not include")

    def test_nothing_includes_tests(self):
        self.assert_caught({
            "comm/api/a.cc": '#include "tests/support/b.h"\n',
            "tests/support/b.h": "",
        }, "may not include")

    def test_a_cycle(self):
        self.assert_caught({
            "comm/base/a.h": '#include "comm/base/b.h"\n',
            "comm/base/b.h": '#include "comm/base/c.h"\n',
            "comm/base/c.h": '#include "comm/base/a.h"\n',
        }, "include cycle")

    def test_a_missing_file(self):
        self.assert_caught({"comm/base/a.cc": '#include "comm/base/gone.h"\n'}, "no file")

    def test_a_relative_include(self):
        self.assert_caught({
            "comm/base/a.cc": '#include "b.h"\n',
            "comm/base/b.h": "",
        }, "no file b.h")

    def test_doors(self):
        self.assert_caught({"comm/exec/a.cc": "#include <spdlog/logger.h>\n"}, "comm/base/log.cc")
        self.assert_caught({"comm/tools/a.cc": "#include <CLI/CLI.hpp>\n"}, "comm/tools/cli.cc")
        self.assert_caught({"comm/tools/a.cc": "#include <nlohmann/json.hpp>\n",
                            "comm/tools/b.cc": "#include <nlohmann/json.hpp>\n"}, "already included")
        self.assert_clean({"comm/device/a.cc": "#include <hwy/highway.h>\n",
                           "comm/base/log.cc": "#include <spdlog/logger.h>\n"})

    def test_the_environment_is_read_in_one_file(self):
        text = "void f() { getenv(name); }\n"
        self.assert_clean({"comm/base/config.cc": text})
        self.assert_caught({"comm/runtime/a.cc": text}, "environment")
        self.assert_clean({"comm/runtime/a.cc": '// getenv() is elsewhere\nconst char* k = "getenv";\n'})

    def test_banned_words(self):
        self.assert_caught({"comm/exec/a.cc": "std::atomic_thread_fence(x);\n"}, "fence")
        self.assert_caught({"comm/exec/a.cc": "goto out;\n"}, "goto")
        self.assert_caught({"comm/exec/a.cc": "#include <source_location>\n"}, "C++20")

    def test_length(self):
        self.assert_clean({"comm/base/a.cc": "\n" * 400})
        self.assert_caught({"comm/base/a.cc": "\n" * 401}, "401 lines")

    def test_missing_guard(self):
        self.assert_caught({"comm/base/a.h": "// NO GUARD\n"}, "no #pragma once")


if __name__ == "__main__":
    unittest.main()
