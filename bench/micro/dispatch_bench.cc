// What the executor itself costs: a plan of local steps that move no bytes, so that all the time is
// finding the next step, its operands and its waits. Reported per step.
#include <benchmark/benchmark.h>

#include "comm/base/check.h"
#include "comm/device/host_device.h"
#include "comm/exec/execution.h"
#include "comm/schedule/builder.h"

namespace {

using namespace tutti;  // NOLINT: a benchmark of this namespace

constexpr uint32_t kSteps = 1024;

// A single rank opens no channels.
class NoChannels final : public ChannelSource {
 public:
  Result<SendChannel*> send_channel(int /*peer*/, uint32_t /*lane*/) override {
    return error(Code::kInternalError, "no channels");
  }
  Result<RecvChannel*> recv_channel(int /*peer*/, uint32_t /*lane*/) override {
    return error(Code::kInternalError, "no channels");
  }
};

// Copies and reduces of empty blocks, alternating.
void build(Schedule* schedule) {
  Builder b(Params{}, Collective::kAllReduce, {1, 1, kSteps, 0}, schedule);
  for (uint32_t i = 0; i < kSteps; ++i) {
    if (i % 2 == 0) {
      b.copy(Builder::output(i), Builder::input(i));
    } else {
      b.reduce(Builder::output(i), {Builder::input(i), Builder::input(i - 1)});
    }
  }
}

void step_dispatch(benchmark::State& state) {
  Schedule schedule;
  build(&schedule);
  const DataLayout layout({1, 0, {}, {}}, {1, 0, {}, {}}, kSteps, sizeof(float), 0, 1 << 20);
  NoChannels channels;
  OpenGate gate;
  Result<Device> device = Device::open(host_device_api(), 0);
  TUTTI_CHECK(device.ok(), "the host device opens everywhere");
  Result<std::unique_ptr<Plan>> plan = Plan::bind(schedule, layout, Capabilities{}, channels);
  TUTTI_CHECK(plan.ok(), "a plan without channels binds");
  Execution execution;
  for (auto _ : state) {
    execution.start(plan.value().get(), {}, {}, {}, &device.value(), &gate);
    const Execution::State end = execution.advance();
    benchmark::DoNotOptimize(end);
  }
  state.counters["ns_per_step"] =
      benchmark::Counter(static_cast<double>(state.iterations()) * kSteps * 1e-9,
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(step_dispatch)->Repetitions(5)->ReportAggregatesOnly(true);

}  // namespace

BENCHMARK_MAIN();
