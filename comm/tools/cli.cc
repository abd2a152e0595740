#include "comm/tools/cli.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <vector>

namespace tutti {

struct Cli::Command::Impl {
  CLI::App* app;
};

struct Cli::Impl {
  CLI::App app;
  std::vector<std::unique_ptr<Command>> commands;
};

Cli::Command::Command(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Cli::Command::~Command() = default;

void Cli::Command::positional(const char* name, std::string* value, const char* about) {
  impl_->app->add_option(name, *value, about)->required();
}

void Cli::Command::option(const char* name, std::string* value, const char* about) {
  impl_->app->add_option(name, *value, about);
}

void Cli::Command::option(const char* name, std::optional<int>* value, const char* about) {
  impl_->app->add_option(name, *value, about);
}

void Cli::Command::flag(const char* name, bool* value, const char* about) {
  impl_->app->add_flag(name, *value, about);
}

bool Cli::Command::chosen() const { return impl_->app->parsed(); }

Cli::Cli(const char* name, const char* about) : impl_(std::make_unique<Impl>()) {
  impl_->app.name(name);
  impl_->app.description(about);
  impl_->app.require_subcommand(0, 1);
}

Cli::~Cli() = default;

Cli::Command& Cli::command(const char* name, const char* about) {
  auto impl = std::make_unique<Command::Impl>();
  impl->app = impl_->app.add_subcommand(name, about);
  impl_->commands.push_back(std::make_unique<Command>(std::move(impl)));
  return *impl_->commands.back();
}

std::optional<int> Cli::parse(int argc, char** argv) {
  // CLI11 reports with exceptions; they end here.
  try {
    impl_->app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return impl_->app.exit(help);
  } catch (const CLI::Error& problem) {
    std::fprintf(stderr, "%s: %s\nRun with --help for the usage.\n", impl_->app.get_name().c_str(),
                 problem.what());
    return 2;
  }
  // Asked here, not by CLI11: it would blame a misspelt command on a missing one.
  if (impl_->app.get_subcommands().empty()) {
    std::fprintf(stderr, "%s: expected a command, got none\nRun with --help for the usage.\n",
                 impl_->app.get_name().c_str());
    return 2;
  }
  return std::nullopt;
}

}  // namespace tutti
