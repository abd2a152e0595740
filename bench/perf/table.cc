#include "bench/perf/table.h"

#include <cstdarg>
#include <cstdio>

namespace perf {

namespace {

__attribute__((format(printf, 1, 2))) std::string text(const char* format, ...) {
  char buffer[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(buffer, sizeof buffer, format, arguments);
  va_end(arguments);
  return buffer;
}

// Three significant digits or all whole ones, in so many columns.
std::string figure(double value, int width) {
  const int decimals = value < 10 ? 2 : value < 100 ? 1 : 0;
  return text("%*.*f", width, decimals, value);
}

std::string wrong_text(const std::optional<uint64_t>& wrong) {
  return wrong ? text(" %6llu", static_cast<unsigned long long>(*wrong)) : "      -";
}

constexpr int kTuttiWidth = 55;
constexpr int kPeerWidth = 27;

std::string centred(const std::string& name, int width) {
  const int free = width - static_cast<int>(name.size()) - 2;
  const int left = free / 2;
  return std::string(static_cast<size_t>(left), '-') + " " + name + " " +
         std::string(static_cast<size_t>(free - left), '-');
}

std::string expert_head(const Case& c, const Systems& systems, const Options& options) {
  const ExpertShape& s = c.expert;
  std::string result =
      text("\n# %s bf16, %zu ranks, transport %s, %s memory, algorithm %s; ", name_of(c.collective),
           systems[0]->ranks().size(), options.transport.c_str(),
           c.registered ? "registered" : "malloc", name_of(s.algo));
  result += text("%d batches in turns\n# %d tokens of %d, %d of %d experts, %s, ", options.batches,
                 s.tokens, s.hidden, s.topk, s.experts, routing_name(s).c_str());
  result += text("layout %s, quant %s, reduce %s, %s\n", name_of(s.layout), name_of(s.quant),
                 name_of(s.reduce), s.backward ? "bwd" : "fwd");
  return result + text("#%-14s %10s %10s %10s %10s %10s %10s %10s %10s %6s %9s\n", "system",
                       "p50 us", "p99 us", "cpu us", "time/bound", "node MB", "far MB", "wire MB",
                       "bytes/min", "wrong", "/ tutti");
}

std::string optional_figure(const std::optional<double>& value, int width) {
  return value ? figure(*value, width) : text("%*s", width, "-");
}

std::string over_least_text(const std::optional<double>& value) {
  return value ? text(" %10.3f", *value) : text("%11s", "-");
}

std::string expert_lines(const CaseResult& result, const Systems& systems) {
  std::string lines;
  for (size_t i = 0; i < result.rows.size(); ++i) {
    const std::optional<Row>& row = result.rows[i];
    lines += text(" %-14s ", systems[i]->name().c_str());
    if (!row) {
      lines += "       n/a\n";
      continue;
    }
    std::optional<double> near, far, wire;
    if (row->sent) {
      near = static_cast<double>(row->sent->payload.near) * 1e-6;
      far = static_cast<double>(row->sent->payload.far) * 1e-6;
      wire = static_cast<double>(row->sent->wire.total()) * 1e-6;
    }
    lines += figure(row->p50_us, 10) + figure(row->p99_us, 11) + figure(row->cpu_us, 11) +
             optional_figure(row->over_bound, 11) + optional_figure(near, 11) +
             optional_figure(far, 11) + optional_figure(wire, 11) +
             over_least_text(bytes_over_least(result, *row)) + wrong_text(row->wrong) +
             optional_figure(row->over_first, 10) + "\n";
  }
  return lines;
}

}  // namespace

std::string describe_ranks(const Systems& systems) {
  std::string result;
  for (const std::unique_ptr<System>& system : systems) {
    result += text("# %-8s %s\n#          cpus by rank:", system->name().c_str(),
                   system->ranks()[0].version.c_str());
    for (const RankFacts& rank : system->ranks()) {
      result += text(" %d:%s", rank.rank, rank.cpus.c_str());
    }
    result += "\n";
  }
  return result;
}

std::string table_head(const Case& c, const Systems& systems, const Options& options) {
  if (is_expert(c.collective)) return expert_head(c, systems, options);
  std::string result = text("\n# %s", name_of(c.collective));
  if (c.collective != Collective::kBarrier) result += text(" %s", tutti::name_of(c.dtype));
  if (has_operator(c.collective)) result += text(" %s", tutti::name_of(c.op));
  result +=
      text(", %zu ranks, transport %s", systems[0]->ranks().size(), options.transport.c_str());
  if (c.collective != Collective::kBarrier) {
    result += text(", %s memory, %s", options.registered ? "registered" : "malloc",
                   options.in_place ? "in place" : "out of place");
  }
  if (has_root(c.collective)) {
    result += c.root == kRotatingRoot ? ", another root at each call" : text(", root %d", c.root);
  }
  result += text(", algorithm %s; %d batches in turns\n",
                 options.algorithm.empty() ? "auto" : options.algorithm.c_str(), options.batches);
  std::string second = text("#%11s %11s", "bytes", "count");
  result += text("#%23s", "");
  for (size_t i = 0; i < systems.size(); ++i) {
    result += " |" + centred(systems[i]->name(), i == 0 ? kTuttiWidth : kPeerWidth);
    second += i == 0 ? text(" |%9s %9s %9s %8s %8s %6s", "p50 us", "p99 us", "cpu us", "alg GB/s",
                            "bus GB/s", "wrong")
                     : text(" |%10s %9s %6s", "p50 us", "bus GB/s", "wrong");
  }
  if (systems.size() > 1) {
    result += " | best peer";
    second += " |   / tutti";
  }
  return result + "\n" + second + "\n";
}

std::string table_line(const CaseResult& result, const Systems& systems) {
  if (is_expert(result.c.collective)) return expert_lines(result, systems);
  std::string line = text(" %11zu %11zu", result.bytes, result.c.count);
  for (size_t i = 0; i < result.rows.size(); ++i) {
    line += " |";
    const std::optional<Row>& row = result.rows[i];
    if (!row) {
      line += text("%*s", i == 0 ? kTuttiWidth - 1 : kPeerWidth, "n/a");
    } else if (i == 0) {
      line += figure(row->p50_us, 9) + figure(row->p99_us, 10) + figure(row->cpu_us, 10) +
              figure(row->algbw_gbs, 9) + figure(row->busbw_gbs, 9) + wrong_text(row->wrong);
    } else {
      line += figure(row->p50_us, 10) + figure(row->busbw_gbs, 10) + wrong_text(row->wrong);
    }
  }
  if (result.rows.size() > 1)
    line += result.ratio ? " |" + figure(*result.ratio, 10) : " |       n/a";
  return line + "\n";
}

}  // namespace perf
