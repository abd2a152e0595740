// The interpreter of row_team.h.
#include <deque>
#include <gtest/gtest.h>
#include <map>
#include <utility>

#include "comm/device/row_quantise.h"
#include "tests/exec/row_team.h"
#include "tests/exec/row_values.h"

namespace tutti {
namespace {

using Row = std::vector<uint8_t>;

class RowModel {
 public:
  explicit RowModel(const RowCase& job) : job_(job) {
    for (size_t r = 0; r < job.schedules.size(); ++r) {
      memory_.push_back(row_memory(job, static_cast<int>(r)));
    }
    next_.resize(memory_.size());
  }

  std::vector<RowMemory> run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (size_t r = 0; r < memory_.size(); ++r) {
        while (next_[r] < steps(r).size() && step(r, steps(r)[next_[r]])) {
          ++next_[r];
          moved = true;
        }
      }
    }
    for (size_t r = 0; r < memory_.size(); ++r) {
      EXPECT_EQ(next_[r], steps(r).size()) << "the model of rank " << r << " is stuck";
    }
    return std::move(memory_);
  }

 private:
  const std::vector<Step>& steps(size_t r) const { return job_.schedules[r].lanes[0].steps; }

  std::span<const uint32_t> rows_of(size_t r, const Operand& o) const {
    const Rows& rows = job_.schedules[r].rows;
    return rows.of(rows.sets[o.chunk]);
  }
  uint8_t* address(size_t r, Buffer buffer, uint32_t row) {
    return memory_[r][static_cast<size_t>(buffer)].data() + row * job_.layout[buffer].stride;
  }
  Row load(size_t r, Buffer buffer, uint32_t row) {
    const uint8_t* at = address(r, buffer, row);
    return Row(at, at + job_.layout[buffer].bytes);
  }

  void send(size_t r, const Operand& o) {
    std::vector<Row> message;
    for (uint32_t row : rows_of(r, o)) message.push_back(load(r, o.buffer, row));
    sent_[{static_cast<int>(r), o.peer}].push_back(std::move(message));
  }

  bool step(size_t r, const Step& s) {
    const Schedule& schedule = job_.schedules[r];
    if (s.op == Op::kRows && !compute(r, s)) return false;
    for (const Operand& o : schedule.outputs(s)) {
      if (o.peer != kLocal) send(r, o);
    }
    return true;
  }

  bool compute(size_t r, const Step& s) {
    const Schedule& schedule = job_.schedules[r];
    const auto inputs = schedule.inputs(s);
    for (const Operand& o : inputs) {
      if (o.peer != kLocal && sent_[{o.peer, static_cast<int>(r)}].empty()) return false;
    }
    std::vector<std::vector<Row>> in;
    for (const Operand& o : inputs) {
      in.emplace_back();
      if (o.peer == kLocal) {
        for (uint32_t row : rows_of(r, o)) in.back().push_back(load(r, o.buffer, row));
      } else {
        std::deque<std::vector<Row>>& queue = sent_[{o.peer, static_cast<int>(r)}];
        in.back() = std::move(queue.front());
        queue.pop_front();
        EXPECT_EQ(in.back().size(), rows_of(r, o).size());
      }
    }
    const RowProgram& program = schedule.rows.programs[s.data_chunk];
    for (uint32_t i = 0; i < s.data_nchunks; ++i) {
      const auto terms = schedule.rows.terms_of(program, i);
      const std::vector<Row> result = row(r, s, program, i, terms, in);
      for (uint32_t k = 0; k < s.n_out; ++k) {
        const Operand& o = schedule.outputs(s)[k];
        const Row& bytes = program.kernel == RowKernel::kQuantise ? result[k] : result[0];
        std::copy(bytes.begin(), bytes.end(), address(r, o.buffer, rows_of(r, o)[i]));
      }
    }
    return true;
  }

  std::vector<Row> row(size_t r, const Step& s, const RowProgram& program, uint32_t i,
                       std::span<const RowTerm> terms, const std::vector<std::vector<Row>>& in) {
    const Schedule& schedule = job_.schedules[r];
    const RowFormat& to = job_.layout[schedule.outputs(s)[0].buffer];
    if (program.kernel == RowKernel::kCopy) {
      return {terms.empty() ? Row(to.bytes) : in[terms[0].input][terms[0].row]};
    }
    const bool only_biases = s.n_in == program.num_biases;
    const RowFormat& from =
        only_biases ? to : job_.layout[schedule.inputs(s)[program.num_biases].buffer];
    if (program.kernel == RowKernel::kQuantise) {
      const Row& source = in[terms[0].input][terms[0].row];
      std::vector<Row> result = {Row(to.bytes),
                                 Row(job_.layout[schedule.outputs(s)[1].buffer].bytes)};
      quantise_rows({job_.layout.quant,
                     from.dtype,
                     from.bytes / size_of(from.dtype),
                     1,
                     {source.data(), 0},
                     {result[0].data(), 0},
                     {result[1].data(), 0},
                     Stores::kCached});
      return result;
    }
    Row sum(to.bytes);
    const size_t element = size_of(to.dtype);
    for (size_t h = 0; h < to.bytes / element; ++h) {
      float acc = 0;
      for (uint32_t b = 0; b < program.num_biases; ++b) {
        const float bias = load_value(in[b][i].data() + h * element, to.dtype);
        acc = b == 0 ? bias : acc + bias;
      }
      for (const RowTerm& term : terms) {
        const float v =
            load_value(in[term.input][term.row].data() + h * size_of(from.dtype), from.dtype);
        acc += program.weighted ? term.weight * v : v;
      }
      store_value(sum.data() + h * element, to.dtype, acc);
    }
    return {sum};
  }

  const RowCase& job_;
  std::vector<RowMemory> memory_;
  std::vector<size_t> next_;
  std::map<std::pair<int, int>, std::deque<std::vector<Row>>> sent_;
};

}  // namespace

std::vector<RowMemory> row_model(const RowCase& job) { return RowModel(job).run(); }

}  // namespace tutti
