#include "comm/base/config.h"

#include <cstdlib>
#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace tutti {
namespace {

Environment with(std::string name, std::string value) {
  return Environment{{{std::move(name), std::move(value)}}};
}

Config load(const Environment& environment, const ConfigOverrides& overrides = {}) {
  Result<Config> config = load_config(environment, overrides);
  EXPECT_TRUE(config.ok()) << config.status().text();
  return config.ok() ? config.value() : Config();
}

size_t index_of(std::string_view name) {
  for (size_t i = 0; i < kNumSettings; ++i) {
    if (name == settings()[i].name) return i;
  }
  ADD_FAILURE() << "no setting " << name;
  return 0;
}

TEST(Config, Defaults) {
  const Config config = load({});
  EXPECT_TRUE(config.algorithms.empty());
  EXPECT_EQ(config.transport, "auto");
  EXPECT_EQ(config.timeout_ns, 600'000'000'000);
  EXPECT_EQ(config.log, (LogConfig{LogLevel::kWarn, ""}));
  EXPECT_EQ(config.threads, 1);
  EXPECT_EQ(config.buffer_cap, 64u << 20);
  for (const SettingSource source : config.sources) EXPECT_EQ(source, SettingSource::kDefault);
  EXPECT_TRUE(config.unknown.empty());
}

TEST(Config, ConfigBeatsEnvironmentBeatsDefault) {
  const Environment environment = with("TUTTI_THREADS", "4");
  Config config = load(environment);
  EXPECT_EQ(config.threads, 4);
  EXPECT_EQ(config.sources[index_of("threads")], SettingSource::kEnvironment);
  ConfigOverrides overrides;
  overrides.threads = 7;
  config = load(environment, overrides);
  EXPECT_EQ(config.threads, 7);
  EXPECT_EQ(config.sources[index_of("threads")], SettingSource::kConfig);
  EXPECT_EQ(config.sources[index_of("timeout")], SettingSource::kDefault);
}

TEST(Config, EveryOverride) {
  ConfigOverrides overrides;
  overrides.algorithms = "all_reduce:ring";
  overrides.transport = "inproc";
  overrides.timeout_ns = 1'500'000'001;
  overrides.log = "debug:/tmp/x";
  overrides.threads = 2;
  overrides.buffer_cap = 1000001;
  overrides.interface = "eth*,^eth1";
  overrides.host_id = "left half";
  overrides.port_range = "4000-4100";
  const Config config = load({}, overrides);
  ASSERT_EQ(config.algorithms.size(), 1u);
  EXPECT_EQ(config.algorithms[0].second, "ring");
  EXPECT_EQ(config.transport, "inproc");
  EXPECT_EQ(config.timeout_ns, 1'500'000'001);
  EXPECT_EQ(config.log, (LogConfig{LogLevel::kDebug, "/tmp/x"}));
  EXPECT_EQ(config.threads, 2);
  EXPECT_EQ(config.buffer_cap, 1000001u);
  EXPECT_EQ(config.interface, "eth*,^eth1");
  EXPECT_EQ(config.host_id, "left half");
  EXPECT_EQ(config.port_low, 4000);
  EXPECT_EQ(config.port_high, 4100);
  for (const SettingSource source : config.sources) EXPECT_EQ(source, SettingSource::kConfig);
}

TEST(Config, PortRanges) {
  for (const char* bad : {"4000", "-", "1-", "-1", "0-5", "6-5", "1-65536", "1 - 2", "a-b"}) {
    const Result<Config> config = load_config(with("TUTTI_PORT_RANGE", bad));
    ASSERT_FALSE(config.ok()) << bad;
    EXPECT_EQ(config.status().code(), Code::kInvalidArgument);
  }
  EXPECT_EQ(load(with("TUTTI_PORT_RANGE", "1-65535")).port_high, 65535);
  EXPECT_EQ(load({}).port_low, 0);
}

TEST(Config, LaunchVariablesAreKnown) {
  Environment environment;
  for (const LaunchVariable& v : launch_variables())
    environment.variables.emplace_back(v.variable, "1");
  environment.variables.emplace_back("TUTTI_RANKS", "1");
  EXPECT_EQ(load(environment).unknown, std::vector<std::string>{"TUTTI_RANKS"});
}

TEST(Config, OverridesAreCheckedToo) {
  ConfigOverrides overrides;
  overrides.threads = 0;
  const Result<Config> config = load_config({}, overrides);
  ASSERT_FALSE(config.ok());
  EXPECT_EQ(config.status().code(), Code::kInvalidArgument);
  EXPECT_EQ(config.status().text(),
            "config field threads: expected a whole number from 1 to 1024, got \"0\"");
  overrides = {};
  overrides.timeout_ns = -1;
  EXPECT_FALSE(load_config({}, overrides).ok());
  overrides.timeout_ns = 0;
  EXPECT_FALSE(load_config({}, overrides).ok());
  overrides.timeout_ns = 2'009'633'973;  // rounding up would give one more
  EXPECT_EQ(load({}, overrides).timeout_ns, 2'009'633'973);
  overrides.timeout_ns = kTimeoutNever;
  EXPECT_EQ(load({}, overrides).timeout_ns, kTimeoutNever);
}

TEST(Config, AHiddenBadVariableStillFails) {
  ConfigOverrides overrides;
  overrides.threads = 2;
  EXPECT_FALSE(load_config(with("TUTTI_THREADS", "many"), overrides).ok());
}

struct Case {
  const char* variable;
  const char* value;
  const char* printed;  // null: refused
};

TEST(Config, Values) {
  const std::vector<Case> cases = {
      {"TUTTI_ALGO", "all_reduce:ring", "all_reduce:ring"},
      {"TUTTI_ALGO", "broadcast:chain,all_reduce:two-shot", "all_reduce:two-shot,broadcast:chain"},
      {"TUTTI_ALGO", "all_reduce", nullptr},
      {"TUTTI_ALGO", "all_reduce:", nullptr},
      {"TUTTI_ALGO", ":ring", nullptr},
      {"TUTTI_ALGO", ",", nullptr},
      {"TUTTI_ALGO", "all_reduce:ring,", nullptr},
      {"TUTTI_ALGO", ",all_reduce:ring", nullptr},
      {"TUTTI_ALGO", "all_reduce:ring:x", nullptr},
      {"TUTTI_ALGO", "all_reduce:ring, broadcast:chain", nullptr},
      {"TUTTI_ALGO", "AllReduce:Ring", nullptr},
      {"TUTTI_ALGO", "all_reduce:ring,all_reduce:direct", nullptr},
      {"TUTTI_ALGO", "all_reduce:ring,all_reduce:ring", nullptr},
      {"TUTTI_TRANSPORT", "inproc", "inproc"},
      {"TUTTI_TRANSPORT", "in proc", nullptr},
      {"TUTTI_TRANSPORT", "shm,tcp", nullptr},
      {"TUTTI_TIMEOUT", "30", "30"},
      {"TUTTI_TIMEOUT", "0.5", "0.5"},
      {"TUTTI_TIMEOUT", "1e3", "1000"},
      {"TUTTI_TIMEOUT", "1e-12", "0.000000001"},
      {"TUTTI_TIMEOUT", "never", "never"},
      {"TUTTI_TIMEOUT", "9e9", "9000000000"},
      {"TUTTI_TIMEOUT", "1e10", nullptr},
      {"TUTTI_TIMEOUT", "1e999", nullptr},
      {"TUTTI_TIMEOUT", "0", nullptr},
      {"TUTTI_TIMEOUT", "-1", nullptr},
      {"TUTTI_TIMEOUT", "inf", nullptr},
      {"TUTTI_TIMEOUT", "nan", nullptr},
      {"TUTTI_TIMEOUT", "10s", nullptr},
      {"TUTTI_TIMEOUT", " 10", nullptr},
      {"TUTTI_LOG", "trace", "trace"},
      {"TUTTI_LOG", "info:/tmp/a:b", "info:/tmp/a:b"},
      {"TUTTI_LOG", "info:", nullptr},
      {"TUTTI_LOG", "loud", nullptr},
      {"TUTTI_LOG", ":/tmp/a", nullptr},
      {"TUTTI_THREADS", "1024", "1024"},
      {"TUTTI_THREADS", "1025", nullptr},
      {"TUTTI_THREADS", "99999999999999999999", nullptr},
      {"TUTTI_THREADS", "1.5", nullptr},
      {"TUTTI_THREADS", "-3", nullptr},
      {"TUTTI_BUFFER_CAP", "64K", "64K"},
      {"TUTTI_BUFFER_CAP", "65536", "64K"},
      {"TUTTI_BUFFER_CAP", "65537", "65537"},
      {"TUTTI_BUFFER_CAP", "2048m", "2G"},
      {"TUTTI_BUFFER_CAP", "1G", "1G"},
      {"TUTTI_BUFFER_CAP", "63K", nullptr},
      {"TUTTI_BUFFER_CAP", "K", nullptr},
      {"TUTTI_BUFFER_CAP", "1T", nullptr},
      {"TUTTI_BUFFER_CAP", "1KK", nullptr},
      {"TUTTI_BUFFER_CAP", "17179869184G", nullptr},
      {"TUTTI_BUFFER_CAP", "-1", nullptr},
  };
  for (const Case& c : cases) {
    const std::string what = std::string(c.variable) + "=" + c.value;
    const Result<Config> config = load_config(with(c.variable, c.value));
    ASSERT_EQ(config.ok(), c.printed != nullptr) << what;
    if (!config.ok()) {
      const std::string& text = config.status().text();
      EXPECT_EQ(config.status().code(), Code::kInvalidArgument) << what;
      EXPECT_EQ(text.find(std::string(c.variable) + ": expected "), 0u) << text;
      EXPECT_NE(text.find("got \"" + std::string(c.value) + "\""), std::string::npos) << text;
      continue;
    }
    for (const Setting& setting : settings()) {
      if (std::string_view(setting.variable) != c.variable) continue;
      const std::string printed = setting.print(config.value());
      EXPECT_EQ(printed, c.printed) << what;
      Config again = config.value();
      EXPECT_TRUE(setting.parse(printed, &again)) << what;
      EXPECT_EQ(setting.print(again), printed) << what;
    }
  }
}

TEST(Config, EmptyVariablesCountAsAbsent) {
  for (const Setting& setting : settings()) {
    const Config config = load(with(setting.variable, ""));
    EXPECT_EQ(config.sources[index_of(setting.name)], SettingSource::kDefault) << setting.name;
  }
}

TEST(Config, ALongBadValueIsCutInTheMessage) {
  const Result<Config> config = load_config(with("TUTTI_THREADS", std::string(100'000, '9')));
  ASSERT_FALSE(config.ok());
  EXPECT_LT(config.status().text().size(), 400u);
}

TEST(Config, UnknownNamesAreListedOnceAndSorted) {
  Environment environment;
  environment.variables = {
      {"TUTTI_ZEBRA", "1"}, {"HOME", "/"}, {"TUTTI_ALG", "x"}, {"TUTTI_ZEBRA", "2"}};
  const Config config = load(environment);
  EXPECT_EQ(config.unknown, (std::vector<std::string>{"TUTTI_ALG", "TUTTI_ZEBRA"}));
}

TEST(Config, AgreementCoversWhatShapesTheWireOnly) {
  const std::string base = agreement_text(load({}));
  EXPECT_EQ(base, "algorithms=\nbuffer_cap=64M\nthreads=1\ntransport=auto\n");
  EXPECT_EQ(agreement_text(load(with("TUTTI_TIMEOUT", "3"))), base);
  EXPECT_NE(agreement_text(load(with("TUTTI_THREADS", "3"))), base);
  EXPECT_NE(agreement_text(load(with("TUTTI_BUFFER_CAP", "1M"))), base);
  EXPECT_EQ(agreement_text(load(with("TUTTI_ALGO", "a:x,b:y"))),
            agreement_text(load(with("TUTTI_ALGO", "b:y,a:x"))));
}

TEST(Config, TableIsComplete) {
  for (const Setting& setting : settings()) {
    EXPECT_TRUE(std::string_view(setting.variable).starts_with("TUTTI_"));
    EXPECT_GT(std::string_view(setting.meaning).size(), 10u) << setting.name;
    EXPECT_GT(std::string_view(setting.expected).size(), 5u) << setting.name;
    EXPECT_EQ(setting.print(load({})), setting.default_text) << setting.name;
  }
}

TEST(Environment, TakesOursAndNothingElse) {
  setenv("TUTTI_THREADS", "3", 1);
  setenv("NOT_TUTTI_X", "3", 1);
  const Environment environment = Environment::of_process();
  unsetenv("TUTTI_THREADS");
  unsetenv("NOT_TUTTI_X");
  const std::string* value = environment.find("TUTTI_THREADS");
  ASSERT_NE(value, nullptr);
  EXPECT_EQ(*value, "3");
  EXPECT_EQ(environment.find("NOT_TUTTI_X"), nullptr);
  for (const auto& variable : environment.variables) {
    EXPECT_TRUE(variable.first.starts_with("TUTTI_")) << variable.first;
  }
}

TEST(Environment, TheFirstOfARepeatedNameCounts) {
  const Environment environment{{{"TUTTI_THREADS", "2"}, {"TUTTI_THREADS", "9"}}};
  EXPECT_EQ(*environment.find("TUTTI_THREADS"), "2");
}

}  // namespace
}  // namespace tutti
