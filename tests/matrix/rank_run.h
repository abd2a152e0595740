// RankRun: one rank's part of one case: lays out the buffers, calls the C API, checks everything.
// Thread: the rank's.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "tutti/tutti.h"

#include "tests/matrix/area.h"
#include "tests/matrix/problem.h"

namespace tutti {

// The buffers of one rank, kept from case to case.
struct RankAreas {
  Area send;
  Area recv;
};

// How a case of barriers tells who has entered how many: one counter per rank, which all ranks of
// the team share and which never goes down.
struct Entries {
  std::atomic<uint64_t>* counters;
  uint64_t turn;  // cases that the team has run before
};

class RankRun {
 public:
  // `salt` decides what differs between ranks in mixed cases.
  RankRun(const Problem& problem, Variant variant, int rank, uint64_t salt, tuttiComm_t comm,
          RankAreas* areas);

  // What went wrong, or "".
  std::string run(const Entries& entries);
  bool call_failed() const { return call_failed_; }

 private:
  void lay_out();
  void lay_out_in_place();
  std::string call_and_check();
  std::string run_barriers(const Entries& entries);
  tuttiResult_t call();
  tuttiResult_t call_uneven();
  tuttiResult_t call_point_to_point();
  tuttiResult_t send_to_next();
  tuttiResult_t send_tagged();
  tuttiResult_t send_batch();
  std::string failure(const char* what);
  void* input_block(int peer) const;
  void* output_block(int peer) const;

  const Problem& problem_;
  const Case& case_;
  const int rank_;
  const RankData& data_;
  const tuttiComm_t comm_;
  RankAreas& areas_;
  const size_t element_;
  const tuttiDataType_t dtype_;
  bool in_place_ = false;
  Memory send_kind_ = Memory::kPlain;
  Memory recv_kind_ = Memory::kPlain;
  bool remaps_ = false;  // plain memory, where there is a whole page of it
  uint8_t* send_ = nullptr;
  uint8_t* recv_ = nullptr;
  std::vector<Content> send_pieces_;
  std::vector<Content> recv_pieces_;
  tuttiRedOp_t op_ = tuttiSum;
  bool call_failed_ = false;
  bool wrong_source_ = false;
};

}  // namespace tutti
