// Cli: the command line of a tool with subcommands. Hides CLI11, which only cli.cc includes.
//
//   Cli cli("tutti-schedule", "what it does");
//   Cli::Command& show = cli.command("show", "prints a schedule");
//   show.positional("COLLECTIVE", &collective, "its name");
//   show.option("--ranks", &ranks, "how many");
//   if (const auto exit_code = cli.parse(argc, argv)) return *exit_code;
//   if (show.chosen()) ...
//
// What options are bound to must outlive parse(). Not thread-safe.
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace tutti {

class Cli {
 public:
  class Command {
   public:
    struct Impl;
    explicit Command(std::unique_ptr<Impl> impl);
    ~Command();
    Command(const Command&) = delete;
    Command& operator=(const Command&) = delete;

    void positional(const char* name, std::string* value, const char* about);  // required
    void option(const char* name, std::string* value, const char* about);
    void option(const char* name, std::optional<int>* value, const char* about);
    void flag(const char* name, bool* value, const char* about);
    bool chosen() const;  // after parse()

   private:
    std::unique_ptr<Impl> impl_;
  };

  Cli(const char* name, const char* about);
  ~Cli();
  Cli(const Cli&) = delete;
  Cli& operator=(const Cli&) = delete;

  // Exactly one of the commands must be given.
  Command& command(const char* name, const char* about);

  // Nothing: carry on. 0: help was printed. 2: the usage was wrong, and stderr says how.
  std::optional<int> parse(int argc, char** argv);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tutti
