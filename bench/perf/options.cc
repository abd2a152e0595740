#include "bench/perf/options.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>

#include "bench/perf/expert_options.h"
#include "comm/schedule/catalog.h"
#include "comm/tools/cli.h"

namespace perf {

using tutti::Cli;
using tutti::Code;
using tutti::Status;

namespace {

constexpr const char* kAbout =
    "Measures collectives between ranks, verifies every result, and puts other systems beside it.\n"
    "`tutti-perf COLLECTIVE --help` lists the options. Started by tutti-run, torchrun or Open "
    "MPI's\n"
    "mpirun it measures the ranks it finds itself in; else it starts them itself.";

// What the command line says, before it is understood.
struct Raw {
  std::optional<int> ranks, factor, root, iterations, warmup, batches, rounds;
  std::string smallest, largest, dtype, op, memory = "malloc", peers, timeout;
  std::string only;
  bool no_check = false;
  RawExpert expert;
};

// Of every command that measures.
void add_run_options(Cli::Command& command, Raw* raw, Options* options) {
  command.option("-n,--ranks", &raw->ranks, "ranks to start on this host (2)");
  command.option("-t,--transport", &options->transport, "auto, inproc, shm, gloo or mpi (auto)");
  command.option("-m,--memory", &raw->memory, "malloc or registered (malloc)");
  command.option("--iters", &raw->iterations, "calls of a batch (as many as fit 20 ms)");
  command.option("--warmup", &raw->warmup, "calls before the first batch (until times are known)");
  command.option("--batches", &raw->batches, "batches; their median counts (11)");
  command.flag("--no-check", &raw->no_check, "do not verify results");
  command.option("--json", &options->json, "write the rows to this file");
  command.option("--timeout", &raw->timeout, "seconds to wait for any one answer (600)");
}

void add_common_options(Cli::Command& command, Raw* raw, Options* options) {
  add_run_options(command, raw, options);
  command.option("-b,--min", &raw->smallest, "smallest size in bytes, with K, M or G (8)");
  command.option("-e,--max", &raw->largest, "largest size, always measured (64M)");
  command.option("-f,--factor", &raw->factor, "from one size to the next (4)");
  command.option("-d,--dtype", &raw->dtype, "data type: i8 ... u64, f16, bf16, f32, ... (f32)");
  command.option("-o,--op", &raw->op, "operator: sum, prod, max, min, avg, band, ... (sum)");
  command.option("-r,--root", &raw->root, "always this root (else another one at each call)");
  command.flag("--in-place", &options->in_place, "results over inputs");
}

void add_options(Cli::Command& command, Raw* raw, Options* options) {
  add_common_options(command, raw, options);
  command.option("-a,--algorithm", &options->algorithm, "see tutti-schedule (the selector's)");
  command.option("--peers", &raw->peers, "systems beside it: openmpi,mpich,gloo,limit");
  command.option("--plot", &options->plot, "draw them into this file (.png, .pdf, .svg)");
}

void add_options_of_experts(Cli::Command& command, Raw* raw, Options* options) {
  add_expert_options(command, &raw->expert);
  add_run_options(command, raw, options);
  command.option("-a,--algo", &options->algorithm, "auto, direct, hier or allgather (auto)");
  command.option("--peers", &raw->peers,
                 "beside it: openmpi,mpich,gloo, or one way such as openmpi-dedup (limit)");
}

Status wrong_value(const char* option, const char* expected, const std::string& got) {
  return tutti::error(Code::kInvalidArgument, "%s: expected %s, got \"%s\"", option, expected,
                      got.c_str());
}

Status take_int(const char* option, const std::optional<int>& given, int least, int* out) {
  if (!given) return {};
  if (*given < least) {
    return wrong_value(option, ("at least " + std::to_string(least)).c_str(),
                       std::to_string(*given));
  }
  *out = *given;
  return {};
}

Status take_count(const char* option, const std::optional<int>& given, int least,
                  std::optional<int>* out) {
  if (!given) return {};
  int value = 0;
  TUTTI_TRY(take_int(option, given, least, &value));
  *out = value;
  return {};
}

Status take_bytes(const char* option, const std::string& given, size_t* out) {
  if (given.empty()) return {};
  const std::optional<size_t> bytes = parse_bytes(given);
  if (!bytes) return wrong_value(option, "bytes such as 8, 4K or 64M", given);
  *out = *bytes;
  return {};
}

Status take_peers(const std::string& given, std::vector<std::string>* out) {
  for (const std::string& name : split_at_commas(given)) {
    if (name != "openmpi" && name != "mpich" && name != "gloo" && name != "limit") {
      return wrong_value("--peers", "openmpi, mpich, gloo or limit", name);
    }
    if (std::find(out->begin(), out->end(), name) == out->end()) out->push_back(name);
  }
  // What the host allows belongs beside whatever is compared.
  if (!out->empty() && std::find(out->begin(), out->end(), "limit") == out->end()) {
    out->push_back("limit");
  }
  return {};
}

Status take_types(const Raw& raw, Options* options) {
  if (!raw.dtype.empty()) {
    const auto dtype = tutti::parse_data_type(raw.dtype);
    if (!dtype) return wrong_value("-d", "a data type such as f32, bf16 or i64", raw.dtype);
    options->dtype = *dtype;
  }
  if (!raw.op.empty()) {
    const auto op = tutti::parse_reduce_op(raw.op);
    if (!op || *op == tutti::ReduceOp::kPreMulSum) {
      return wrong_value("-o", "an operator such as sum, max or avg", raw.op);
    }
    options->op = *op;
  }
  const bool reduces = std::any_of(options->collectives.begin(), options->collectives.end(),
                                   [](Collective c) { return has_operator(c); });
  if (reduces && !tutti::is_defined(options->dtype, options->op)) {
    return tutti::error(Code::kInvalidArgument, "%s is not defined for %s",
                        tutti::name_of(options->op), tutti::name_of(options->dtype));
  }
  return {};
}

Status take_names(const Raw& raw, Options* options) {
  const std::string& t = options->transport;
  if (t != "auto" && t != "inproc" && t != "shm" && t != "gloo" && t != "mpi") {
    return wrong_value("-t", "auto, inproc, shm, gloo or mpi", t);
  }
  if (raw.memory != "malloc" && raw.memory != "registered") {
    return wrong_value("-m", "malloc or registered", raw.memory);
  }
  options->registered = raw.memory == "registered";
  if (raw.timeout.empty()) return {};
  char* end = nullptr;
  options->timeout_seconds = std::strtod(raw.timeout.c_str(), &end);
  if (*end != '\0' || !(options->timeout_seconds > 0) || options->timeout_seconds > 1e6) {
    return wrong_value("--timeout", "seconds, more than 0", raw.timeout);
  }
  return {};
}

// Those whose algorithms a table can choose between.
Status take_contested(const std::string& only, Options* options) {
  for (const Collective collective : all_collectives()) {
    const auto scheduled = tutti::parse_collective(name_of(collective));
    if (!scheduled || tutti::algorithms_of(*scheduled).size() < 2) continue;
    if (only.empty() || only == name_of(collective)) options->collectives.push_back(collective);
  }
  if (!options->collectives.empty()) return {};
  return wrong_value("-c", "a collective with more than one algorithm (see tutti-schedule list)",
                     only);
}

Status check_combinations(const Options& options) {
  if (options.smallest > options.largest) {
    return tutti::error(Code::kInvalidArgument, "-b %zu is more than -e %zu", options.smallest,
                        options.largest);
  }
  if (options.collectives.size() > 1) {
    if (options.algorithm.empty()) return {};
    return tutti::error(Code::kInvalidArgument, "-a needs one collective, not all");
  }
  const Collective only = options.collectives.front();
  if (is_expert(only)) return {};
  if (options.in_place && !can_be_in_place(only)) {
    return tutti::error(Code::kInvalidArgument, "%s has no in-place form here", name_of(only));
  }
  const bool scheduled = only != Collective::kAllToAllV && only != Collective::kSendRecv;
  if (!options.algorithm.empty() && !scheduled) {
    return tutti::error(Code::kInvalidArgument, "%s has no algorithms to choose from",
                        name_of(only));
  }
  return {};
}

Status understand(const Raw& raw, Options* options) {
  TUTTI_TRY(take_count("-n", raw.ranks, 1, &options->ranks));
  TUTTI_TRY(take_bytes("-b", raw.smallest, &options->smallest));
  TUTTI_TRY(take_bytes("-e", raw.largest, &options->largest));
  TUTTI_TRY(take_int("-f", raw.factor, 2, &options->factor));
  TUTTI_TRY(take_int("-r", raw.root, 0, &options->root));
  TUTTI_TRY(take_count("--iters", raw.iterations, 1, &options->iterations));
  TUTTI_TRY(take_count("--warmup", raw.warmup, 0, &options->warmup));
  TUTTI_TRY(take_int("--batches", raw.batches, 1, &options->batches));
  TUTTI_TRY(take_int("--rounds", raw.rounds, 1, &options->rounds));
  TUTTI_TRY(take_types(raw, options));
  TUTTI_TRY(take_names(raw, options));
  options->check = !raw.no_check;
  if (is_expert(options->collectives.front())) {
    options->dtype = tutti::DataType::kBfloat16;
    TUTTI_TRY(take_shapes(raw.expert, options->algorithm, &options->shapes));
    return take_expert_peers(raw.peers, &options->peers);
  }
  TUTTI_TRY(take_peers(raw.peers, &options->peers));
  return check_combinations(*options);
}

std::vector<Case> expert_cases(const Options& options, Collective collective) {
  std::vector<Case> cases;
  for (const ExpertShape& shape : options.shapes) {
    Case c;
    c.collective = collective;
    c.dtype = options.dtype;
    c.count = static_cast<size_t>(shape.tokens) * static_cast<size_t>(shape.hidden);
    c.registered = options.registered;
    c.expert = shape;
    cases.push_back(c);
  }
  return cases;
}

}  // namespace

std::optional<size_t> parse_bytes(std::string_view text) {
  size_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc()) return std::nullopt;
  const std::string_view suffix = text.substr(static_cast<size_t>(end - text.data()));
  int shift = 0;
  if (suffix == "K" || suffix == "k") shift = 10;
  if (suffix == "M" || suffix == "m") shift = 20;
  if (suffix == "G" || suffix == "g") shift = 30;
  if (shift == 0 && !suffix.empty()) return std::nullopt;
  if (value > SIZE_MAX >> shift) return std::nullopt;
  return value << shift;
}

CommandLine read_command_line(int argc, char** argv) {
  CommandLine line;
  Options& options = line.options;
  Raw raw;
  Cli cli("tutti-perf", kAbout);
  std::vector<Cli::Command*> commands;
  for (const Collective collective : all_collectives()) {
    commands.push_back(&cli.command(name_of(collective), "measures it"));
  }
  commands.push_back(&cli.command("all", "measures all of them, one after the other"));
  for (Cli::Command* command : commands) add_options(*command, &raw, &options);
  std::vector<Cli::Command*> of_experts;
  for (const Collective collective : expert_collectives()) {
    of_experts.push_back(&cli.command(name_of(collective), "measures it"));
    add_options_of_experts(*of_experts.back(), &raw, &options);
  }
  Cli::Command& choose =
      cli.command("select", "measures all algorithms, and prints rows for the selector's table");
  add_common_options(choose, &raw, &options);
  choose.option("-c,--collective", &raw.only, "only this one (all that have a choice)");
  choose.option("--rounds", &raw.rounds, "so often, each time with fresh ranks (3)");
  Cli::Command& serve = cli.command("serve", "for tutti-perf itself: ranks that wait for orders");
  std::optional<int> threads;
  serve.option("--socket", &options.socket, "where the orders come from");
  serve.option("--transport", &options.transport, "as TUTTI_TRANSPORT");
  serve.option("--algorithms", &options.algorithms, "as TUTTI_ALGO");
  serve.option("--threads", &threads, "so many ranks in this process");

  line.exit_code = cli.parse(argc, argv);
  if (line.exit_code) return line;
  options.serve = serve.chosen();
  options.threads = threads.value_or(0);
  if (options.serve) return line;
  for (size_t i = 0; i < commands.size(); ++i) {
    if (!commands[i]->chosen()) continue;
    const auto every = all_collectives();
    options.collectives.assign(every.begin(), every.end());
    if (i < every.size()) options.collectives = {every[i]};
  }
  for (size_t i = 0; i < of_experts.size(); ++i) {
    if (of_experts[i]->chosen()) options.collectives = {expert_collectives()[i]};
  }
  options.select = choose.chosen();
  Status status = options.select ? take_contested(raw.only, &options) : Status();
  if (status.ok()) status = understand(raw, &options);
  if (!status.ok()) {
    std::fprintf(stderr, "tutti-perf: %s\nRun with --help for the usage.\n", status.text().c_str());
    line.exit_code = 2;
  }
  return line;
}

std::vector<Case> cases_of(const Options& options, Collective collective, int nranks) {
  if (is_expert(collective)) return expert_cases(options, collective);
  std::vector<Case> cases;
  Case c;
  c.collective = collective;
  c.dtype = options.dtype;
  c.op = options.op;
  c.root = options.root;
  c.in_place = options.in_place;
  c.registered = options.registered;
  if (collective == Collective::kBarrier) return {c};
  if (options.in_place && !can_be_in_place(collective)) return {};
  const auto factor = static_cast<size_t>(options.factor);
  size_t bytes = std::max<size_t>(options.smallest, 1);
  while (true) {
    c.count = count_for(collective, c.dtype, bytes, nranks);
    if (c.count > 0 && (cases.empty() || cases.back().count != c.count)) cases.push_back(c);
    if (bytes >= options.largest) return cases;
    bytes = bytes > options.largest / factor ? options.largest : bytes * factor;
  }
}

}  // namespace perf
