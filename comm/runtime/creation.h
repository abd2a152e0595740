// Creation: how communicators come to be. Each way is a state machine, driven by the caller or,
// when the call must not block, by the engine.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/base/config.h"
#include "comm/runtime/communicator.h"
#include "comm/runtime/process.h"

namespace tutti {

// More ranks of one process than this are taken for a mistake: they cost memory and time as their
// square.
inline constexpr int kMaxLocalRanks = 4096;

// All ranks of a new communicator in this process. `config` as loaded; all or nothing.
Result<std::vector<std::unique_ptr<Communicator>>> create_all(Process& process, int nranks,
                                                              const Config& config,
                                                              const std::string& name);

// A communicator in the making.
class Creation : public Pollable {
 public:
  ~Creation() override;
  bool poll_once() final;  // false once it has ended; any thread
  // Drives it to its end on this thread.
  void wait();
  bool ended() const { return ended_.load(std::memory_order_acquire); }
  // After it has ended: why it failed, or the new communicator (null when the rank is not in it).
  const Status& result() const { return result_; }
  std::unique_ptr<Communicator> take() { return std::move(made_); }
  // Gives up where the step allows it: a split is the parent's operation and does not. Any thread.
  void abort();

 protected:
  // `parent`: the communicator it is made out of, which must not be destroyed meanwhile; may be
  // null.
  Creation(Process& process, Communicator* parent, Config config, std::string name);
  // Does what can be done now; true when ended, with result_ and made_ set. Then the parent is not
  // needed any more.
  virtual bool advance() = 0;
  // Waiting for a thread that drives the parent, where the step needs it.
  virtual void help() {}

  Process& process_;
  Config config_;
  std::string name_;
  Status result_;
  std::unique_ptr<Communicator> made_;
  std::atomic<bool> abort_requested_{false};

 private:
  Communicator* const held_;
  Mutex mutex_;  // held by the thread that advances it
  std::atomic<bool> ended_{false};
};

// Out of another communicator, whose transport the new one shares.
class DerivedCreation : public Creation {
 protected:
  DerivedCreation(Process& process, Communicator& parent, Config config, std::string name)
      : Creation(process, &parent, std::move(config), std::move(name)), parent_(parent) {}
  // `members`: ranks of the parent. `all_come`: all of them do the same, sooner or later.
  Status make(uint64_t id, const std::vector<int>& members, bool all_come);

  Communicator& parent_;
};

// Split by color and key: one all-gather over the parent, then everybody knows all groups.
class SplitCreation final : public DerivedCreation {
 public:
  // `number`: of this split among the parent's, equal on all ranks.
  SplitCreation(Process& process, Communicator& parent, int color, int key, uint64_t number,
                Config config, std::string name);
  ~SplitCreation() override;
  Status start();

 private:
  bool advance() override;
  void help() override;
  struct Entry {
    int32_t color, key;
  };
  const Entry own_;
  const uint64_t number_;
  std::vector<Entry> all_;
  std::unique_ptr<Operation> gather_;
};

// A group called by its members only: they meet under an id that follows from who they are.
class GroupCreation final : public DerivedCreation {
 public:
  GroupCreation(Process& process, Communicator& parent, std::vector<int> members, uint64_t id,
                Config config, std::string name);
  Status start();

 private:
  bool advance() override;
  const std::vector<int> members_;
  const uint64_t id_;
  int64_t deadline_ns_ = INT64_MAX;
};

}  // namespace tutti
