// TuttiExpert: one rank's calls of tutti/expert.h for one case, prepared beforehand as a layer of a
// model would: the routing is agreed on once, outside what is timed. One thread. Borrows the
// communicator and the buffers.
#pragma once

#include "tutti/expert.h"

#include "bench/perf/case.h"
#include "bench/perf/expert_plan.h"
#include "bench/perf/rank_server.h"

namespace perf {

class TuttiExpert {
 public:
  TuttiExpert(tuttiComm_t comm, const Case& c);
  ~TuttiExpert();
  TuttiExpert(const TuttiExpert&) = delete;
  TuttiExpert& operator=(const TuttiExpert&) = delete;

  // On all ranks, with the rank's two buffers (ExpertPlan::Places).
  tutti::Status prepare(void* send_memory, void* recv_memory);
  tuttiResult_t run() const;
  // What tuttiEpGetStats says of the calls so far, of each.
  std::optional<Sent> sent() const;

 private:
  tutti::Status create();
  tutti::Status agree(const ExpertPlan& plan);
  void describe_dispatch(const ExpertPlan& plan, uint8_t* send, uint8_t* recv);
  void describe_combine(const ExpertPlan& plan, uint8_t* send, uint8_t* recv);
  tuttiEpTensor_t rows(const ExpertPlan& plan, void* data, tuttiDataType_t dtype,
                       int64_t elements) const;

  tuttiComm_t comm_;
  Case case_;
  int rank_ = 0;
  int nranks_ = 0;
  std::vector<float> weights_;  // [T, K]
  tuttiEpGroup_t group_ = nullptr;
  tuttiEpHandle_t handle_ = nullptr;
  tuttiEpDispatchIn_t dispatch_in_ = {};
  tuttiEpDispatchOut_t dispatch_out_ = {};
  tuttiEpOpConfig_t dispatch_config_ = {};
  tuttiEpCombineIn_t combine_in_ = {};
  tuttiEpCombineOut_t combine_out_ = {};
  tuttiEpOpConfig_t combine_config_ = {};
};

}  // namespace perf
