// Agreement: the ranks of an expert group compare what must be the same on all of them: at its
// creation, and when they change it together.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/expert/exchange.h"
#include "comm/runtime/operation.h"

namespace tutti {

class ExpertGroup;

class Agreement final : public Operation {
 public:
  struct Fact {
    const char* name;  // static storage
    uint64_t value;
  };
  // `what`: "creation of an expert group", the same on all ranks and of static storage. As many
  // facts, of the same names, on every rank. `own`: what is wrong here already.
  Agreement(ExpertGroup& group, const char* what, std::vector<Fact> facts, Status own);

  Status begin() override;
  Progress advance() override;
  Status failure() const override { return failure_; }
  Status health(int* peer) const override { return exchange_.execution().health(peer); }
  int waiting_for() const override { return exchange_.execution().waiting_for(); }
  int culprit() const override;
  std::string describe() const override { return what_; }
  Status outcome() const override { return outcome_; }

 private:
  Status judge() const;
  ExpertGroup& group_;
  Communicator& comm_;
  const char* const what_;
  const std::vector<Fact> facts_;
  const Status own_;
  Exchange exchange_;
  std::vector<uint64_t> mine_;
  std::vector<uint64_t> all_;
  int culprit_ = -1;
  Status failure_;
  Status outcome_;
};

}  // namespace tutti
