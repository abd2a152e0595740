#include "bench/perf/contest.h"

#include <cstdio>

#include "bench/perf/start.h"
#include "comm/base/cores.h"
#include "comm/base/wait.h"
#include "comm/runtime/select.h"

namespace perf {

using tutti::Algorithm;
using tutti::MachineClass;
using tutti::Result;
using tutti::Status;

namespace {

// As the ranks will find it out, all on this host.
MachineClass machine_of(int nranks) {
  return tutti::machine_class(tutti::HostShare{nranks, tutti::usable_cores()}.crowded());
}

std::span<const Algorithm> algorithms(Collective collective) {
  return tutti::algorithms_of(*tutti::parse_collective(name_of(collective)));
}

Status start_all(Collective collective, const Options& options, int nranks, Children& children,
                 std::vector<PrivateFolder>& folders, Systems& systems) {
  Options one = options;
  one.collectives = {collective};
  for (size_t i = 0; i < folders.size(); ++i) {
    TUTTI_TRY(folders[i].make());
    one.algorithm = algorithms(collective)[i].name;
    Result<std::unique_ptr<System>> system =
        start_tutti_system(one.algorithm, one, nranks, children, folders[i]);
    if (!system.ok()) return system.status();
    systems.push_back(std::move(system.value()));
  }
  return {};
}

// One round of a case added to its contest.
void add_round(const CaseResult& result, int nranks, Contest* contest) {
  const std::span<const Algorithm> all = algorithms(result.c.collective);
  if (contest->contenders.empty()) {
    contest->block_bytes = result.c.count * tutti::size_of(result.c.dtype);
    contest->current = tutti::select({}, machine_of(nranks), all.front().collective,
                                     contest->block_bytes, nranks, true)
                           .algorithm;
    for (const Algorithm& a : all) contest->contenders.push_back({&a, {}});
  }
  for (size_t i = 0; i < all.size(); ++i) {
    contest->contenders[i].batch_us.push_back(result.rows[i]->batch_us);
  }
}

// The median of all rounds.
double time_of(const Contender& contender) {
  std::vector<double> medians;
  for (const std::vector<double>& round : contender.batch_us) medians.push_back(median(round));
  return median(medians);
}

void print_head(const Case& c, const Options& options, int nranks) {
  std::printf("\n# %s %s, %d ranks (%s), transport %s, %s memory, %s; %d rounds of %d batches\n",
              name_of(c.collective), tutti::name_of(c.dtype), nranks,
              tutti::name_of(machine_of(nranks)), options.transport.c_str(),
              options.registered ? "registered" : "malloc",
              options.in_place ? "in place" : "out of place", options.rounds, options.batches);
  std::printf("#%11s %11s", "bytes", "of a block");
  for (const Algorithm& a : algorithms(c.collective)) {
    std::printf(" | %18s us %5s %5s", a.name, "least", "gain");
  }
  std::printf(" | choice now -> measured\n");
}

void print_line(const Contest& contest, size_t bytes) {
  std::printf(" %11zu %11zu", bytes, contest.block_bytes);
  for (const Contender& contender : contest.contenders) {
    const Gain by = gain(contest, contender);
    std::printf(" | %21.2f %5.2f %5.2f", time_of(contender), by.least, by.median);
  }
  const Algorithm* const best = winner(contest);
  std::printf(" | %s%s%s\n", contest.current->name, best == contest.current ? "" : " -> ",
              best == contest.current ? "" : best->name);
}

Status run_round(const std::vector<Case>& cases, const Options& options, int nranks,
                 Contested* contested, std::vector<Contest>* contests) {
  const Collective collective = cases.front().collective;
  std::vector<PrivateFolder> folders(algorithms(collective).size());
  Systems systems;
  Children children;  // ends before the sockets, or they would all complain
  TUTTI_TRY(start_all(collective, options, nranks, children, folders, systems));
  for (size_t i = 0; i < cases.size(); ++i) {
    Result<CaseResult> result = measure(cases[i], systems, options);
    if (!result.ok()) return result.status();
    add_round(result.value(), nranks, &(*contests)[i]);
    contested->results.push_back(std::move(result.value()));
  }
  for (const std::unique_ptr<System>& system : systems) TUTTI_TRY(system->quit());
  TUTTI_TRY(children.finish(60));
  contested->systems = std::move(systems);
  return {};
}

}  // namespace

Result<Contested> contest(const std::vector<Case>& cases, const Options& options, int nranks) {
  print_head(cases.front(), options, nranks);
  std::fflush(stdout);
  Contested contested;
  std::vector<Contest> contests(cases.size());
  for (int round = 0; round < options.rounds; ++round) {
    TUTTI_TRY(run_round(cases, options, nranks, &contested, &contests));
  }
  for (size_t i = 0; i < cases.size(); ++i) print_line(contests[i], bytes_of(cases[i], nranks));
  std::fflush(stdout);
  contested.rows = rows_of(machine_of(nranks), nranks, contests);
  return contested;
}

}  // namespace perf
